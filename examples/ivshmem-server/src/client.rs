//! A peer: a process of the host that shares memory and interrupts with guests.
//!
//! - **C1** Every number is checked before it is used. A message that breaks the protocol ends
//!   the connection; what the client knew before stays valid.
//! - **C2** A peer counts as joined when it has as many eventfds as this client wants;
//!   further eventfds from the server are closed.
//!
//! A client whose server has died goes on with the peers it knows. It joins a restarted
//! server by a new [`Client::connect`]: with a new number, and with the same memory if that
//! has a name (`file:`, `shm:`), or new memory if it is a memfd.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::SocketType;
use shmem_core::Mapping;
use shmem_core::region::MapError;
use shmem_sync::EventBell;

use crate::socket::{address, new_socket};
use crate::wire::{MEMORY, Received, Receiver, VERSION};

/// The longest timeout, so that a deadline does not overflow.
const LONGEST: Duration = Duration::from_secs(1 << 20);
/// The largest number of messages in one [`Client::update`].
const MESSAGES: usize = 256;

/// A peer of this process, joined to a server.
///
/// Memory and doorbells are shared ([`Arc`]): a clone can be used while the client is updated,
/// and after it was dropped.
#[derive(Debug)]
pub struct Client {
    link: Link,
    id: u16,
    memory: Arc<Mapping>,
    vectors: usize,
    own: Vec<Arc<EventBell>>,
    peers: BTreeMap<u16, Vec<Arc<EventBell>>>,
    connected: bool,
}

/// A change that a client reports.
#[derive(Debug)]
pub enum Change {
    /// A peer has joined, and can be notified.
    Joined(u16),
    /// A peer has left; a new one has another number.
    Left(u16),
    /// The server is gone, or broke the protocol: no changes will follow. Peers can still
    /// notify each other.
    Lost(ClientError),
}

/// The reason why a client is not joined to a server.
#[derive(Debug)]
pub enum ClientError {
    /// There is no server, or a system call failed.
    System(io::Error),
    /// The server closed the connection: it has ended, or is full.
    Closed,
    /// The server did not send everything in time.
    TimedOut {
        /// Eventfds of this client that it sent.
        given: usize,
        /// How many this client wanted.
        wanted: usize,
    },
    /// A version of the protocol that is not 0.
    Version(i64),
    /// A number that is invalid at its place.
    Number(i64),
    /// A descriptor is missing, or comes with a number that must have none.
    Descriptor(i64),
    /// This process has too many open descriptors.
    NoRoom,
    /// The memory cannot be mapped.
    Memory(MapError),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(error) => write!(f, "{error}"),
            Self::Closed => {
                f.write_str("the server closed the connection: it has ended, or is full")
            }
            Self::TimedOut { given, wanted } => write!(
                f,
                "the server sent {given} of {wanted} vectors in time: \
                 ask for as many as it gives, or check that it runs"
            ),
            Self::Version(version) => {
                write!(
                    f,
                    "the server uses version {version} of the protocol, not 0"
                )
            }
            Self::Number(number) => write!(f, "the server sent {number}, which is invalid here"),
            Self::Descriptor(number) => write!(
                f,
                "the server sent {number} without the descriptor that it must have, \
                 or with one that it must not have"
            ),
            Self::NoRoom => f.write_str("too many open files: raise the limit (ulimit -n)"),
            Self::Memory(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for ClientError {}

impl From<Errno> for ClientError {
    fn from(error: Errno) -> Self {
        Self::System(error.into())
    }
}

impl Client {
    /// Joins the server at `path`, with `vectors` eventfds of its own (0 counts as 1). Knows all
    /// peers that joined before.
    ///
    /// # Errors
    ///
    /// [`ClientError`]: there is no server, or it is full, breaks the protocol, or does not send
    /// everything within `patience`.
    pub fn connect(path: &Path, vectors: u16, patience: Duration) -> Result<Self, ClientError> {
        let deadline = Instant::now() + patience.min(LONGEST);
        let wanted = usize::from(vectors.max(1));
        let mut link = Link::connect(path, deadline)?;
        let timed_out = |given| ClientError::TimedOut { given, wanted };
        let (id, memory) = receive_greeting(|| link.next_until(deadline)?.ok_or(timed_out(0)))?;
        let mut client = Self {
            link,
            id,
            memory: Arc::new(memory),
            vectors: wanted,
            own: Vec::new(),
            peers: BTreeMap::new(),
            connected: true,
        };
        while client.own.len() < wanted {
            let given = client.own.len();
            let next = client.link.next_until(deadline)?;
            let (number, descriptor) = next.ok_or(timed_out(given))?;
            client.take(number, descriptor)?;
        }
        Ok(client)
    }

    /// Returns our number, by which others notify us.
    pub fn id(&self) -> u16 {
        self.id
    }

    /// Returns the memory that all peers share.
    pub fn memory(&self) -> &Arc<Mapping> {
        &self.memory
    }

    /// Returns the peers that can be notified, without ourselves.
    pub fn peers(&self) -> impl Iterator<Item = u16> {
        let joined = self.peers.iter().filter(|(_, bells)| self.is_whole(bells));
        joined.map(|(&id, _)| id)
    }

    /// Returns the eventfd by which others notify us for `vector`, for [`shmem_sync::EventWait`].
    pub fn own(&self, vector: u16) -> Option<&Arc<EventBell>> {
        self.own.get(usize::from(vector))
    }

    /// Returns the doorbell of a peer, as `notify` needs it.
    pub fn bell(&self, peer: u16, vector: u16) -> Option<&Arc<EventBell>> {
        self.peers.get(&peer)?.get(usize::from(vector))
    }

    /// Interrupts a peer. Returns `false` if it does not exist or has no such vector.
    ///
    /// It may return `true` for a peer that no longer reads.
    pub fn ring(&self, peer: u16, vector: u16) -> bool {
        let Some(bell) = self.bell(peer, vector) else {
            return false;
        };
        // It fails only after 2^64 - 2 unread rings: the eventfd is readable then.
        let _ = rustix::io::write(bell.as_ref(), &1_u64.to_ne_bytes());
        true
    }

    /// Interrupts every peer.
    pub fn ring_all(&self, vector: u16) {
        for peer in self.peers() {
            self.ring(peer, vector);
        }
    }

    /// Returns true while changes may still come.
    pub fn is_connected(&self) -> bool {
        self.connected
    }

    /// Returns what has changed, without waiting. It reads at most 256 messages, so call it again
    /// while the client's descriptor is readable.
    pub fn update(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        for _ in 0..MESSAGES {
            if !self.connected {
                break;
            }
            let taken = match self.link.next() {
                Ok(None) => break,
                Ok(Some((number, descriptor))) => self.take(number, descriptor),
                Err(error) => Err(error),
            };
            match taken {
                Ok(change) => changes.extend(change),
                Err(error) => {
                    self.connected = false; // C1
                    changes.push(Change::Lost(error));
                }
            }
        }
        changes
    }

    /// Handles one message.
    fn take(
        &mut self,
        number: i64,
        descriptor: Option<OwnedFd>,
    ) -> Result<Option<Change>, ClientError> {
        let id = peer_number(number)?;
        let bell = descriptor.map(EventBell::from_fd).transpose();
        match bell.map_err(ClientError::System)?.map(Arc::new) {
            Some(bell) if id == self.id => {
                if self.own.len() < self.vectors {
                    self.own.push(bell);
                }
                Ok(None)
            }
            Some(bell) => {
                let bells = self.peers.entry(id).or_default();
                if bells.len() >= self.vectors {
                    return Ok(None); // C2
                }
                bells.push(bell);
                let joined = bells.len() == self.vectors;
                Ok(joined.then_some(Change::Joined(id)))
            }
            None => {
                let bells = self.peers.remove(&id);
                let bells = bells.ok_or(ClientError::Descriptor(number))?;
                Ok(self.is_whole(&bells).then_some(Change::Left(id)))
            }
        }
    }

    fn is_whole(&self, bells: &[Arc<EventBell>]) -> bool {
        bells.len() >= self.vectors
    }
}

impl AsFd for Client {
    /// Readable while [`Client::update`] has something to read.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.link.socket.as_fd()
    }
}

/// Receives the server's first messages: its version, our number, the memory.
fn receive_greeting(
    mut next: impl FnMut() -> Result<Numbered, ClientError>,
) -> Result<(u16, Mapping), ClientError> {
    match next()? {
        (VERSION, None) => {}
        (version, _) => return Err(ClientError::Version(version)),
    }
    let id = match next()? {
        (number, None) => peer_number(number)?,
        (number, Some(_)) => return Err(ClientError::Descriptor(number)),
    };
    match next()? {
        (MEMORY, Some(memory)) => {
            let memory = Mapping::from_fd(memory).map_err(ClientError::Memory)?;
            Ok((id, memory))
        }
        (MEMORY, None) => Err(ClientError::Descriptor(MEMORY)),
        (number, _) => Err(ClientError::Number(number)),
    }
}

fn peer_number(number: i64) -> Result<u16, ClientError> {
    u16::try_from(number).map_err(|_| ClientError::Number(number))
}

/// A message: a number, possibly with a descriptor.
type Numbered = (i64, Option<OwnedFd>);

/// The connection.
#[derive(Debug)]
struct Link {
    socket: OwnedFd,
    receiver: Receiver,
}

impl Link {
    fn connect(path: &Path, deadline: Instant) -> Result<Self, ClientError> {
        let address = address(path)?;
        let socket = new_socket(SocketType::STREAM)?;
        loop {
            match rustix::net::connect(&socket, &address) {
                Ok(()) => break,
                Err(Errno::INTR) => {}
                // The server's queue of connections is full.
                Err(Errno::AGAIN) if Instant::now() < deadline => {
                    thread::sleep(Duration::from_millis(5));
                }
                Err(error) => return Err(error.into()),
            }
        }
        let receiver = Receiver::default();
        Ok(Self { socket, receiver })
    }

    /// Returns the next message, or `None` without waiting.
    fn next(&mut self) -> Result<Option<Numbered>, ClientError> {
        match self.receiver.receive(&self.socket)? {
            Received::Message(number, descriptor) => Ok(Some((number, descriptor))),
            Received::Nothing => Ok(None),
            Received::End => Err(ClientError::Closed),
            Received::NoRoom => Err(ClientError::NoRoom),
        }
    }

    /// Returns the next message, or `None` if it does not come before `deadline`.
    fn next_until(&mut self, deadline: Instant) -> Result<Option<Numbered>, ClientError> {
        loop {
            if let Some(message) = self.next()? {
                return Ok(Some(message));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            let timeout = Timespec {
                tv_sec: left.as_secs().cast_signed(),
                tv_nsec: left.subsec_nanos().into(),
            };
            let mut event = [PollFd::new(&self.socket, PollFlags::IN)];
            match poll(&mut event, Some(&timeout)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
