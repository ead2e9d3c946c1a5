//! Shares the result ring among the threads that send events.
//!
//! - **O1** Output waits for space while KMON is alive, that is while its heartbeat has changed
//!   within [`SILENCE_LIMIT`]. Otherwise it is dropped and counted. So a slow KMON slows a program
//!   down, but a silent one does not.
//! - **O2** Events that are not output are not dropped when there is no space: they queue, up to
//!   [`QUEUE_LIMIT`], which only many requests of KMON can reach.
//! - **O3** The greeting is sent before everything else, and the count of dropped bytes before
//!   everything that follows the gap.
//! - **O4** [`Outlet::post`] and [`Outlet::flush`] never wait. [`Outlet::offer`] waits only for
//!   other threads to release the lock, at most [`MAX_WAIT`] each. The command loop uses only
//!   these.
//! - **O5** While KMON formats the region there is no ring, which counts as a full ring.
//! - **O6** Data of a copy ([`Outlet::send`]) wait for space as long as the copy goes on. KMON limits
//!   them, so that they do not fill its memory.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use kmon_protocol::Event;
use kmon_protocol::link::{EventSender, LinkError, VERSION};

/// KMON is silent if its heartbeat has not changed for this time.
pub(crate) const SILENCE_LIMIT: Duration = Duration::from_secs(3);
/// The most events that wait for space.
const QUEUE_LIMIT: usize = 1024;
/// How long a thread waits for space before it releases the lock.
const MAX_WAIT: Duration = Duration::from_millis(2);
/// Time between two attempts to send data to a KMON that is silent.
const SILENT_WAIT: Duration = Duration::from_millis(100);
/// Time in which a thread that was woken acquires the lock.
const YIELD_TIME: Duration = Duration::from_micros(100);

/// Sends events for any number of threads.
pub(crate) struct Outlet {
    link: Mutex<Link>,
    greeting_due: AtomicBool,
    queue: Mutex<VecDeque<Event<'static>>>,
    /// Threads that wait for the lock of `link`.
    contenders: AtomicUsize,
    dropped: AtomicU64,
    /// Dropped bytes that were reported to KMON; stored under `link`.
    reported: AtomicU64,
    peer: Mutex<Peer>,
}

struct Link {
    /// `None` while KMON formats the region (O5).
    sender: Option<EventSender<'static>>,
    /// Number of this daemon's incarnation, for the greeting.
    incarnation: u32,
    /// No event is sent any more.
    broken: bool,
    /// The reason, until it is taken.
    failure: Option<LinkError>,
}

struct Peer {
    beat: u32,
    changed: Instant,
}

/// The result of an attempt to send.
#[derive(PartialEq, Eq)]
enum Attempt {
    Sent,
    Full,
    Broken,
}

impl Outlet {
    pub(crate) fn new(sender: EventSender<'static>, incarnation: u32, peer_beat: u32) -> Self {
        Self {
            link: Mutex::new(Link {
                sender: Some(sender),
                incarnation,
                broken: false,
                failure: None,
            }),
            greeting_due: AtomicBool::new(false),
            queue: Mutex::default(),
            contenders: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
            reported: AtomicU64::new(0),
            peer: Mutex::new(Peer {
                beat: peer_beat,
                changed: Instant::now(),
            }),
        }
    }

    /// Sends output of `len` bytes, and waits or drops it according to O1.
    pub(crate) fn output(&self, event: &Event<'_>, len: usize) {
        while !self.offer(event, len) {
            self.wait_for_space(EventSender::wait_for_space);
        }
    }

    /// Sends data of a copy, after waiting for space (O6). Returns false if `keep_on` returns false,
    /// or if no event can be sent any more.
    pub(crate) fn send(&self, event: &Event<'_>, keep_on: impl Fn() -> bool) -> bool {
        while keep_on() {
            let attempt = self.attempt(&mut self.lock(), event);
            // A thread that posted while this one held the lock could not send.
            self.flush();
            match attempt {
                Attempt::Sent => return true,
                Attempt::Broken => return false,
                Attempt::Full if self.is_peer_silent() => thread::sleep(SILENT_WAIT),
                Attempt::Full => self.wait_for_space(EventSender::wait_for_copy_space),
            }
        }
        false
    }

    fn wait_for_space(&self, wait: impl FnOnce(&mut EventSender<'static>, Duration)) {
        self.lock().wait_for_space(wait);
        // The lock is not fair: without a pause this thread would acquire it again before the
        // thread that the release woke.
        if self.contenders.load(Ordering::Relaxed) > 0 {
            thread::sleep(YIELD_TIME);
        }
    }

    /// Sends output without waiting for space. Returns false if the caller must try again (O1).
    pub(crate) fn offer(&self, event: &Event<'_>, len: usize) -> bool {
        let mut link = self.lock();
        let is_done = match self.attempt(&mut link, event) {
            Attempt::Full if self.is_peer_silent() => {
                self.dropped.fetch_add(len as u64, Ordering::Relaxed);
                true
            }
            Attempt::Full => false,
            Attempt::Sent | Attempt::Broken => true,
        };
        drop(link);
        // A thread that posted while this one held the lock could not send.
        self.flush();
        is_done
    }

    /// Sends the greeting, now or when there is space.
    pub(crate) fn greet(&self) {
        self.greeting_due.store(true, Ordering::Relaxed);
        self.flush();
    }

    /// Stops sending: another process uses the ring.
    pub(crate) fn abandon(&self) {
        self.lock().broken = true;
    }

    /// Releases a region that is being formatted, and discards events for its KMON (O5).
    pub(crate) fn detach(&self) {
        let mut link = self.lock();
        (link.sender, link.failure) = (None, None);
        guard(&self.queue).clear();
    }

    /// Continues in a region that was formatted again, and sends the greeting there.
    pub(crate) fn attach(&self, sender: EventSender<'static>, incarnation: u32, peer_beat: u32) {
        let mut link = self.lock();
        (link.sender, link.incarnation) = (Some(sender), incarnation);
        self.reported.store(0, Ordering::Relaxed);
        drop(link);
        self.note_peer_beat(peer_beat);
        self.greet();
    }

    /// Sends an event that is not output, now or when there is space.
    pub(crate) fn post(&self, event: Event<'static>) {
        let mut queue = guard(&self.queue);
        if queue.len() < QUEUE_LIMIT {
            queue.push_back(event);
        }
        drop(queue);
        self.flush();
    }

    /// Sends waiting events as far as there is space. Returns true if none is left.
    pub(crate) fn flush(&self) -> bool {
        while self.has_pending() {
            let mut link = match self.link.try_lock() {
                Ok(link) => link,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                // The thread that holds the lock flushes after the release.
                Err(TryLockError::WouldBlock) => return false,
            };
            if self.send_waiting(&mut link) != Attempt::Sent {
                return false;
            }
        }
        true
    }

    /// Notes KMON's heartbeat.
    pub(crate) fn note_peer_beat(&self, beat: u32) {
        let mut peer = guard(&self.peer);
        if peer.beat != beat {
            *peer = Peer {
                beat,
                changed: Instant::now(),
            };
        }
    }

    /// Returns true if KMON is silent.
    pub(crate) fn is_peer_silent(&self) -> bool {
        guard(&self.peer).changed.elapsed() >= SILENCE_LIMIT
    }

    /// Returns how many bytes of output were dropped so far.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Takes the reason why no event can be sent any more. Returns it once.
    pub(crate) fn take_failure(&self) -> Option<LinkError> {
        self.link.try_lock().ok()?.failure.take()
    }

    fn has_pending(&self) -> bool {
        self.greeting_due.load(Ordering::Relaxed)
            || self.dropped() > self.reported.load(Ordering::Relaxed)
            || !guard(&self.queue).is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Link> {
        self.contenders.fetch_add(1, Ordering::Relaxed);
        let link = guard(&self.link);
        self.contenders.fetch_sub(1, Ordering::Relaxed);
        link
    }

    fn attempt(&self, link: &mut Link, event: &Event<'_>) -> Attempt {
        match self.send_waiting(link) {
            Attempt::Sent => link.send(event),
            other => other,
        }
    }

    /// Sends what waits, in the order of O3, and the queue in its own order.
    fn send_waiting(&self, link: &mut Link) -> Attempt {
        // Cleared before it is sent: a new KMON may need another greeting meanwhile.
        if self.greeting_due.swap(false, Ordering::Relaxed) {
            let hello = Event::Hello {
                version: VERSION,
                incarnation: link.incarnation,
                features: Event::COPIES_FILES,
            };
            let attempt = link.send(&hello);
            if attempt != Attempt::Sent {
                self.greeting_due.store(true, Ordering::Relaxed);
                return attempt;
            }
        }
        let dropped = self.dropped();
        if dropped > self.reported.load(Ordering::Relaxed) {
            match link.send(&Event::Dropped { bytes: dropped }) {
                Attempt::Sent => self.reported.store(dropped, Ordering::Relaxed),
                other => return other,
            }
        }
        let mut queue = guard(&self.queue);
        while let Some(event) = queue.front() {
            match link.send(event) {
                Attempt::Sent => queue.pop_front(),
                other => return other,
            };
        }
        Attempt::Sent
    }
}

impl Link {
    fn send(&mut self, event: &Event<'_>) -> Attempt {
        if self.broken {
            return Attempt::Broken;
        }
        let Some(sender) = &mut self.sender else {
            return Attempt::Full;
        };
        match sender.send(event) {
            Ok(true) => Attempt::Sent,
            Ok(false) => Attempt::Full,
            Err(LinkError::Formatted) => {
                self.sender = None;
                self.failure = Some(LinkError::Formatted);
                Attempt::Full
            }
            Err(error) => {
                self.broken = true;
                self.failure = Some(error);
                Attempt::Broken
            }
        }
    }

    fn wait_for_space(&mut self, wait: impl FnOnce(&mut EventSender<'static>, Duration)) {
        match &mut self.sender {
            Some(sender) => wait(sender, MAX_WAIT),
            None => thread::sleep(MAX_WAIT),
        }
    }
}

fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
