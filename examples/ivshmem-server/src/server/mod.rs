//! Who is a peer, and telling the others.
//!
//! - **S1** Every peer is told of every other exactly once, before or after its own
//!   eventfds, and of its end at most once and later: what it is told is one queue.
//! - **S2** No call waits for a peer: what one does not take stays in its queue, which has
//!   a bound; behind it the peer is dropped.
//! - **S3** A turn's work is bounded by the number of peers and [`ACCEPTS`].
//! - **S4** What peers send is not read further than to see that they did.
//!
//! Peers go on without a server: they keep the memory and each other's eventfds, and learn
//! no more of who comes and goes. QEMU's device cannot connect anew; other clients can.

mod event;
mod ids;
mod peer;
mod thread;

pub use event::{Event, Reason, ServeError};
pub use thread::Running;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with, sockopt::socket_peercred};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

use crate::socket::Listener;
use crate::wire::{MEMORY, Message, VERSION};
use ids::Ids;
use peer::{Flushed, Heard, Peer};

/// Peers that one turn takes in.
const ACCEPTS: usize = 16;
/// Events that one turn takes from the kernel.
const EVENTS: usize = 64;
/// When what the system had too little for is tried again.
const RETRY: Duration = Duration::from_millis(50);
/// The smallest memory: a page.
const MIN_MEMORY: u64 = 4096;

// What an event is about; below are the numbers of peers.
const LISTENER: u64 = 1 << 16;
const TIMER: u64 = 1 << 17;

/// How much a server has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Eventfds, and so interrupts, that each peer gets, from 1 on.
    pub vectors: u16,
    /// Peers at a time, from 1 on.
    pub peers: u16,
}

impl Limits {
    /// Messages that may wait for a peer: twice what the last one to come is told.
    pub fn queue(&self) -> usize {
        let (vectors, peers) = (usize::from(self.vectors), usize::from(self.peers));
        2 * (3 + vectors * peers)
    }

    /// Descriptors that a server may need, those of peers that left while another had not
    /// read of them included.
    pub fn descriptors(&self) -> usize {
        let (vectors, peers) = (usize::from(self.vectors), usize::from(self.peers));
        8 + peers * (vectors + 1) + self.queue()
    }
}

/// A server, driven by [`Server::turn`] in its owner's loop, or by a thread of its own
/// ([`Server::spawn`]).
///
/// Its socket's name goes, and all connections with it, when it is dropped.
#[derive(Debug)]
pub struct Server {
    epoll: OwnedFd,
    listener: Listener,
    timer: OwnedFd,
    memory: Arc<OwnedFd>,
    limits: Limits,
    ids: Ids,
    peers: BTreeMap<u16, Peer>,
    /// Whether connections wait for better times.
    muted: bool,
    events: Vec<Event>,
}

impl Server {
    /// A server at `path` that shares `memory`, a memfd or a file; a dead server's socket
    /// at that path is replaced.
    ///
    /// # Errors
    ///
    /// [`ServeError`]: the path is a living server's or no socket, the memory's length
    /// is none that a PCI device can have, a limit is zero, or the kernel's reason.
    pub fn bind(path: &Path, memory: OwnedFd, limits: Limits) -> Result<Self, ServeError> {
        let system = |error: Errno| ServeError::System {
            what: "start a server".to_owned(),
            error: error.into(),
        };
        if limits.vectors == 0 || limits.peers == 0 {
            return Err(ServeError::Limits);
        }
        let len = rustix::fs::fstat(&memory).map_err(system)?.st_size;
        let len = u64::try_from(len).unwrap_or(0);
        if !len.is_power_of_two() || len < MIN_MEMORY {
            return Err(ServeError::Memory { len });
        }
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(system)?;
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags).map_err(system)?;
        let listener = Listener::bind(path)?;
        let add = |fd: BorrowedFd<'_>, what| {
            epoll::add(&epoll, fd, EventData::new_u64(what), EventFlags::IN).map_err(system)
        };
        add(timer.as_fd(), TIMER)?;
        add(listener.as_fd(), LISTENER)?;
        Ok(Self {
            epoll,
            listener,
            timer,
            memory: Arc::new(memory),
            limits,
            ids: Ids::default(),
            peers: BTreeMap::new(),
            muted: false,
            events: Vec::new(),
        })
    }

    /// The numbers of the peers that are there.
    pub fn peers(&self) -> impl Iterator<Item = u16> {
        self.peers.keys().copied()
    }

    /// Waits up to `timeout`, for ever if there is none, does what there is to do, and says
    /// what happened. It may return early, with nothing.
    ///
    /// # Errors
    ///
    /// The kernel's reason, which ends the server.
    pub fn turn(&mut self, timeout: Option<Duration>) -> io::Result<Vec<Event>> {
        let timeout = timeout.map(|timeout| Timespec {
            // More than 24 days cannot be said to older kernels.
            tv_sec: timeout.as_secs().min(1 << 20).cast_signed(),
            tv_nsec: timeout.subsec_nanos().into(),
        });
        let mut ready = Vec::with_capacity(EVENTS);
        match epoll::wait(&self.epoll, spare_capacity(&mut ready), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in ready {
            let (what, flags) = (event.data.u64(), event.flags);
            match u16::try_from(what) {
                Ok(id) => self.serve(id, flags),
                Err(_) if what == LISTENER => self.accept(),
                Err(_) => self.retry(),
            }
        }
        Ok(std::mem::take(&mut self.events))
    }

    /// Takes in those who wait.
    fn accept(&mut self) {
        for _ in 0..ACCEPTS {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            match accept_with(&self.listener, flags) {
                Ok(socket) => self.admit(socket),
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                // It stays readable: look away for a while.
                Err(error) => {
                    self.mute(true);
                    self.start_timer();
                    return self.refuse(Reason::Failed(error.into()));
                }
            }
        }
    }

    fn refuse(&mut self, why: Reason) {
        self.events.push(Event::Refused(why));
    }

    /// Makes a connection a peer: tells it all it must know, and the others of it.
    fn admit(&mut self, socket: OwnedFd) {
        if self.peers.len() >= usize::from(self.limits.peers) {
            return self.refuse(Reason::Full(self.limits.peers));
        }
        // No blocking, for all who share it: QEMU would set that in any case.
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let bells: Result<Vec<_>, Errno> = (0..self.limits.vectors)
            .map(|_| eventfd(0, flags).map(Arc::new))
            .collect();
        let bells = match bells {
            Ok(bells) => bells,
            Err(error) => return self.refuse(Reason::Failed(error.into())),
        };
        let id = self.ids.give(|id| self.peers.contains_key(&id));
        let data = EventData::new_u64(id.into());
        if let Err(error) = epoll::add(&self.epoll, &socket, data, EventFlags::IN) {
            return self.refuse(Reason::Failed(error.into()));
        }
        let process = socket_peercred(&socket).ok();
        let process = process.map(|owner| owner.pid.as_raw_nonzero().get());
        self.events.push(Event::Joined { peer: id, process });
        let mut peer = Peer::new(socket, bells);
        peer.enqueue(self.greeting(id, &peer));
        let news = || connect(id, &peer).collect::<Vec<_>>();
        let mut gone = self.tell_all(news);
        self.peers.insert(id, peer);
        gone.extend(self.flush(id).map(|why| (id, why)));
        self.remove(gone);
    }

    /// All that a new peer is told, in the order of the specification.
    fn greeting(&self, id: u16, peer: &Peer) -> Vec<Message> {
        let mut greeting = vec![
            Message::number(VERSION),
            Message::number(id.into()),
            Message::with(MEMORY, &self.memory),
        ];
        for (&other, peer) in &self.peers {
            greeting.extend(connect(other, peer));
        }
        greeting.extend(connect(id, peer));
        greeting
    }

    /// Tells every peer; those that are none any more, and why.
    fn tell_all(&mut self, news: impl Fn() -> Vec<Message>) -> Vec<(u16, Reason)> {
        let ids: Vec<_> = self.peers.keys().copied().collect();
        let mut gone = Vec::new();
        for id in ids {
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.enqueue(news());
                gone.extend(self.flush(id).map(|why| (id, why)));
            }
        }
        gone
    }

    /// Drops peers and tells the others, which may drop more.
    fn remove(&mut self, mut gone: Vec<(u16, Reason)>) {
        while let Some((id, why)) = gone.pop() {
            // It may have been in it twice.
            let Some(peer) = self.peers.remove(&id) else {
                continue;
            };
            let _ = epoll::delete(&self.epoll, &peer);
            self.events.push(Event::Left { peer: id, why });
            gone.extend(self.tell_all(|| vec![Message::number(id.into())]));
        }
    }

    /// What the kernel says of a peer's socket.
    fn serve(&mut self, id: u16, flags: EventFlags) {
        // It may have been dropped in this turn.
        let Some(peer) = self.peers.get(&id) else {
            return;
        };
        let mut why = None;
        if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            why = match peer.listen() {
                Heard::Nothing => None,
                Heard::End => Some(Reason::Closed),
                Heard::Something => Some(Reason::Spoke), // S4
            };
        }
        if why.is_none() && flags.contains(EventFlags::OUT) {
            why = self.flush(id);
        }
        if let Some(why) = why {
            self.remove(vec![(id, why)]);
        }
    }

    /// Sends what a peer takes (S2); why it is none any more, if so.
    fn flush(&mut self, id: u16) -> Option<Reason> {
        let peer = self.peers.get_mut(&id)?;
        let flushed = match peer.flush() {
            Ok(flushed) => flushed,
            Err(Errno::PIPE | Errno::CONNRESET) => return Some(Reason::Closed),
            Err(error) => return Some(Reason::Failed(error.into())),
        };
        let waiting = peer.waiting();
        if waiting > self.limits.queue() {
            return Some(Reason::Stuck(waiting));
        }
        let interest = match flushed {
            Flushed::Behind => EventFlags::IN | EventFlags::OUT,
            Flushed::All | Flushed::Starved => EventFlags::IN,
        };
        if interest != peer.interest {
            let data = EventData::new_u64(id.into());
            if let Err(error) = epoll::modify(&self.epoll, &*peer, data, interest) {
                return Some(Reason::Failed(error.into()));
            }
            peer.interest = interest;
            if flushed == Flushed::Behind {
                self.events.push(Event::Behind { peer: id, waiting });
            }
        }
        if flushed == Flushed::Starved {
            self.start_timer();
        }
        None
    }

    /// Tries again what the system had too little for.
    fn retry(&mut self) {
        let _ = rustix::io::read(&self.timer, &mut [0; 8]);
        self.mute(false);
        let gone = self.tell_all(Vec::new);
        self.remove(gone);
    }

    fn mute(&mut self, muted: bool) {
        if muted != self.muted {
            let interest = match muted {
                true => EventFlags::empty(),
                false => EventFlags::IN,
            };
            let data = EventData::new_u64(LISTENER);
            let _ = epoll::modify(&self.epoll, &self.listener, data, interest);
            self.muted = muted;
        }
    }

    fn start_timer(&self) {
        let time = |duration: Duration| Timespec {
            tv_sec: 0,
            tv_nsec: duration.subsec_nanos().into(),
        };
        let once = Itimerspec {
            it_interval: time(Duration::ZERO),
            it_value: time(RETRY),
        };
        let _ = timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once);
    }
}

impl AsFd for Server {
    /// Readable while [`Server::turn`] has something to do.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

/// The connect notification of a peer; as its own, the interrupt setup.
fn connect(id: u16, peer: &Peer) -> impl Iterator<Item = Message> {
    let with = move |bell| Message::with(id.into(), bell);
    peer.bells.iter().map(with)
}
