//! The result ring, shared by all who print: who waits for space, who drops.
//!
//! - **O1** Output waits for space while KMON lives, that is while its heartbeat
//!   has changed within [`STALLED_AFTER`]; otherwise it is dropped and counted.
//!   So a slow KMON slows a program down, and a stalled one slows nothing.
//! - **O2** Events that are not output are never dropped for want of space: they
//!   queue, up to [`QUEUE_LIMIT`] that KMON itself would have to ask for.
//! - **O3** The greeting goes out before anything else, then the count of dropped
//!   bytes before anything that follows the gap.
//! - **O4** [`Outlet::post`] and [`Outlet::flush`] never wait, and [`Outlet::offer`] waits for
//!   other threads' turns at most, [`TURN`] each: the command loop uses only these.
//! - **O5** While KMON formats the region anew there is no ring: it counts as full.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use kmon_protocol::Event;
use kmon_protocol::link::{EventSender, LinkError, VERSION};

/// A KMON whose heartbeat has not changed for so long is taken for stalled.
pub(crate) const STALLED_AFTER: Duration = Duration::from_secs(3);
/// Events that wait for space at most.
const QUEUE_LIMIT: usize = 1024;
/// How long one thread waits for space before it lets another have its turn.
const TURN: Duration = Duration::from_millis(2);
/// Time for a thread that was woken to take its turn.
const GIVE_WAY: Duration = Duration::from_micros(100);

/// Sends events for any number of threads.
pub(crate) struct Outlet {
    link: Mutex<Link>,
    greeting_due: AtomicBool,
    queue: Mutex<VecDeque<Event<'static>>>,
    /// Threads that want `link` now.
    contenders: AtomicUsize,
    dropped: AtomicU64,
    /// Dropped bytes that KMON has been told of; stored under `link`.
    reported: AtomicU64,
    peer: Mutex<Peer>,
}

struct Link {
    /// Nothing while KMON formats the region anew (O5).
    sender: Option<EventSender<'static>>,
    /// Number of this daemon's incarnation, for the greeting.
    incarnation: u32,
    /// Nothing is sent any more.
    broken: bool,
    /// Why, until someone asks.
    failure: Option<LinkError>,
}

struct Peer {
    beat: u32,
    changed: Instant,
}

/// What became of an attempt to send.
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

    /// Sends output of `len` bytes, waiting or dropping it as O1 says.
    pub(crate) fn output(&self, event: &Event<'_>, len: usize) {
        while !self.offer(event, len) {
            self.lock().wait_for_space();
            // The lock is not fair: without a pause we would take it again
            // before the thread that the release woke has run.
            if self.contenders.load(Ordering::Relaxed) > 0 {
                thread::sleep(GIVE_WAY);
            }
        }
    }

    /// The same without waiting for space; false if it is to be offered again (O1).
    pub(crate) fn offer(&self, event: &Event<'_>, len: usize) -> bool {
        let mut link = self.lock();
        let is_done = match self.attempt(&mut link, event) {
            Attempt::Full if self.peer_stalled() => {
                self.dropped.fetch_add(len as u64, Ordering::Relaxed);
                true
            }
            Attempt::Full => false,
            Attempt::Sent | Attempt::Broken => true,
        };
        drop(link);
        // Whoever posted while we held the lock could not send.
        self.flush();
        is_done
    }

    /// Says who is there, now or when there is space.
    pub(crate) fn greet(&self) {
        self.greeting_due.store(true, Ordering::Relaxed);
        self.flush();
    }

    /// Sends nothing more: the ring is another's.
    pub(crate) fn abandon(&self) {
        self.lock().broken = true;
    }

    /// Lets go of a region that is one no more, and of what only its KMON would
    /// have understood (O5).
    pub(crate) fn detach(&self) {
        let mut link = self.lock();
        (link.sender, link.failure) = (None, None);
        guard(&self.queue).clear();
    }

    /// Goes on in a region that was formatted anew, and greets there.
    pub(crate) fn attach(&self, sender: EventSender<'static>, incarnation: u32, peer_beat: u32) {
        let mut link = self.lock();
        (link.sender, link.incarnation) = (Some(sender), incarnation);
        self.reported.store(0, Ordering::Relaxed);
        drop(link);
        self.saw_peer(peer_beat);
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

    /// Sends what waits, as far as there is space; true if nothing is left.
    pub(crate) fn flush(&self) -> bool {
        while self.owes() {
            let mut link = match self.link.try_lock() {
                Ok(link) => link,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                // Whoever has it flushes after giving it back.
                Err(TryLockError::WouldBlock) => return false,
            };
            if self.send_waiting(&mut link) != Attempt::Sent {
                return false;
            }
        }
        true
    }

    /// Notes KMON's heartbeat.
    pub(crate) fn saw_peer(&self, beat: u32) {
        let mut peer = guard(&self.peer);
        if peer.beat != beat {
            *peer = Peer {
                beat,
                changed: Instant::now(),
            };
        }
    }

    /// Whether KMON's heartbeat stands still.
    pub(crate) fn peer_stalled(&self) -> bool {
        guard(&self.peer).changed.elapsed() >= STALLED_AFTER
    }

    /// Bytes of output dropped so far.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Why nothing can be sent any more, said once.
    pub(crate) fn take_failure(&self) -> Option<LinkError> {
        self.link.try_lock().ok()?.failure.take()
    }

    fn owes(&self) -> bool {
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

    /// In the order of O3, and the queue in its own.
    fn send_waiting(&self, link: &mut Link) -> Attempt {
        // Before it is sent: it may fall due again, for a KMON that comes meanwhile.
        if self.greeting_due.swap(false, Ordering::Relaxed) {
            let hello = Event::Hello {
                version: VERSION,
                incarnation: link.incarnation,
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

    fn wait_for_space(&mut self) {
        match &mut self.sender {
            Some(sender) => sender.wait_for_space(TURN),
            None => thread::sleep(TURN),
        }
    }
}

fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
