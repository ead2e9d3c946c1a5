//! The peers of a server, and the messages to them.
//!
//! - **S1** Every peer is informed of every other exactly once, before or after its own eventfds,
//!   and of its end at most once and later: all messages to a peer are in one queue.
//! - **S2** No call waits for a peer. Unread messages stay in its queue, which has a limit; above
//!   the limit the peer is dropped.
//! - **S3** The work of one call is bounded by the number of peers and [`ACCEPTS`].
//! - **S4** Data from a peer is not read further than to detect it.
//!
//! Peers go on without a server: they keep the memory and each other's eventfds, but no longer
//! learn of joins and leaves. QEMU's device cannot connect again; other clients can.

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
use peer::{Flushed, Input, Peer};

/// The largest number of connections that one call accepts.
const ACCEPTS: usize = 16;
/// The largest number of kernel events that one call handles.
const EVENTS: usize = 64;
/// Time until an operation is tried again that failed for lack of resources.
const RETRY: Duration = Duration::from_millis(50);
/// The smallest memory: a page.
const MIN_MEMORY: u64 = 4096;

// The meaning of event data; smaller values are numbers of peers.
const LISTENER: u64 = 1 << 16;
const TIMER: u64 = 1 << 17;

/// The limits of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Eventfds, and so interrupts, of each peer; at least 1.
    pub vectors: u16,
    /// Peers at a time; at least 1.
    pub peers: u16,
}

impl Limits {
    /// Messages that may wait for a peer: twice what the last peer to join receives.
    pub fn queue(&self) -> usize {
        let (vectors, peers) = (usize::from(self.vectors), usize::from(self.peers));
        2 * (3 + vectors * peers)
    }

    /// Descriptors that a server may need, including those of peers that left before another peer
    /// had read about them.
    pub fn descriptors(&self) -> usize {
        let (vectors, peers) = (usize::from(self.vectors), usize::from(self.peers));
        8 + peers * (vectors + 1) + self.queue()
    }
}

/// A server, driven by [`Server::run_once`] in its owner's loop, or by its own thread
/// ([`Server::spawn`]).
///
/// Dropping it removes the socket's name and closes all connections.
#[derive(Debug)]
pub struct Server {
    epoll: OwnedFd,
    listener: Listener,
    timer: OwnedFd,
    memory: Arc<OwnedFd>,
    limits: Limits,
    ids: Ids,
    peers: BTreeMap<u16, Peer>,
    /// Whether new connections must wait.
    muted: bool,
    events: Vec<Event>,
}

impl Server {
    /// Creates a server at `path` that shares `memory`, a memfd or a file. Replaces the socket of a
    /// dead server.
    ///
    /// # Errors
    ///
    /// [`ServeError`]: the path is a living server's or not a socket, the memory's length is
    /// impossible for a PCI device, a limit is zero, or a system call failed.
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

    /// Returns the numbers of the current peers.
    pub fn peers(&self) -> impl Iterator<Item = u16> {
        self.peers.keys().copied()
    }

    /// Waits up to `timeout`, or without a limit for `None`, and does the work that is due. Returns
    /// what happened. It may return early, with an empty list.
    ///
    /// # Errors
    ///
    /// A system call failed, which ends the server.
    pub fn run_once(&mut self, timeout: Option<Duration>) -> io::Result<Vec<Event>> {
        let timeout = timeout.map(|timeout| Timespec {
            // Older kernels accept at most 24 days.
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

    /// Accepts waiting connections.
    fn accept(&mut self) {
        for _ in 0..ACCEPTS {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            match accept_with(&self.listener, flags) {
                Ok(socket) => self.add_peer(socket),
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                // The listener stays readable: ignore it for a while.
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

    /// Makes a connection a peer: sends it all that it must know, and informs the others.
    fn add_peer(&mut self, socket: OwnedFd) {
        if self.peers.len() >= usize::from(self.limits.peers) {
            return self.refuse(Reason::Full(self.limits.peers));
        }
        // Not blocking, for all processes that share it: QEMU sets that in any case.
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let bells: Result<Vec<_>, Errno> = (0..self.limits.vectors)
            .map(|_| eventfd(0, flags).map(Arc::new))
            .collect();
        let bells = match bells {
            Ok(bells) => bells,
            Err(error) => return self.refuse(Reason::Failed(error.into())),
        };
        let id = self.ids.allocate(|id| self.peers.contains_key(&id));
        let data = EventData::new_u64(id.into());
        if let Err(error) = epoll::add(&self.epoll, &socket, data, EventFlags::IN) {
            return self.refuse(Reason::Failed(error.into()));
        }
        let process = socket_peercred(&socket).ok();
        let process = process.map(|owner| owner.pid.as_raw_nonzero().get());
        self.events.push(Event::Joined { peer: id, process });
        let mut peer = Peer::new(socket, bells);
        peer.enqueue(self.greeting(id, &peer));
        let messages = || connect(id, &peer).collect::<Vec<_>>();
        let mut gone = self.send_to_all(messages);
        self.peers.insert(id, peer);
        gone.extend(self.flush(id).map(|why| (id, why)));
        self.remove(gone);
    }

    /// Returns all messages to a new peer, in the order of the specification.
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

    /// Sends messages to every peer. Returns the peers to drop, with the reasons.
    fn send_to_all(&mut self, messages: impl Fn() -> Vec<Message>) -> Vec<(u16, Reason)> {
        let ids: Vec<_> = self.peers.keys().copied().collect();
        let mut gone = Vec::new();
        for id in ids {
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.enqueue(messages());
                gone.extend(self.flush(id).map(|why| (id, why)));
            }
        }
        gone
    }

    /// Drops peers and informs the others, which may drop more peers.
    fn remove(&mut self, mut gone: Vec<(u16, Reason)>) {
        while let Some((id, why)) = gone.pop() {
            // A peer may be listed twice.
            let Some(peer) = self.peers.remove(&id) else {
                continue;
            };
            let _ = epoll::delete(&self.epoll, &peer);
            self.events.push(Event::Left { peer: id, why });
            gone.extend(self.send_to_all(|| vec![Message::number(id.into())]));
        }
    }

    /// Handles the kernel's event for a peer's socket.
    fn serve(&mut self, id: u16, flags: EventFlags) {
        // The peer may have been dropped in this call.
        let Some(peer) = self.peers.get(&id) else {
            return;
        };
        let mut why = None;
        if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            why = match peer.read_input() {
                Input::Nothing => None,
                Input::End => Some(Reason::Closed),
                Input::Data => Some(Reason::SentData), // S4
            };
        }
        if why.is_none() && flags.contains(EventFlags::OUT) {
            why = self.flush(id);
        }
        if let Some(why) = why {
            self.remove(vec![(id, why)]);
        }
    }

    /// Sends as much as a peer accepts (S2). Returns the reason if it must be dropped.
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
            Flushed::Blocked => EventFlags::IN | EventFlags::OUT,
            Flushed::All | Flushed::NoResources => EventFlags::IN,
        };
        if interest != peer.interest {
            let data = EventData::new_u64(id.into());
            if let Err(error) = epoll::modify(&self.epoll, &*peer, data, interest) {
                return Some(Reason::Failed(error.into()));
            }
            peer.interest = interest;
            if flushed == Flushed::Blocked {
                self.events.push(Event::Slow { peer: id, waiting });
            }
        }
        if flushed == Flushed::NoResources {
            self.start_timer();
        }
        None
    }

    /// Tries the operations again that failed for lack of resources.
    fn retry(&mut self) {
        let _ = rustix::io::read(&self.timer, &mut [0; 8]);
        self.mute(false);
        let gone = self.send_to_all(Vec::new);
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
    /// Readable while [`Server::run_once`] has something to do.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

/// Returns the connect notification of a peer; for the peer itself, its interrupt setup.
fn connect(id: u16, peer: &Peer) -> impl Iterator<Item = Message> {
    let with = move |bell| Message::with(id.into(), bell);
    peer.bells.iter().map(with)
}
