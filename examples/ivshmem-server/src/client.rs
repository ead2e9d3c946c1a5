//! Being a peer: a process of the host that shares memory and interrupts with guests.
//!
//! - **C1** Every number is checked before it is used; what breaks the protocol ends the
//!   connection, and what was learnt until then stays.
//! - **C2** A peer counts as joined when it has as many eventfds as this client wants;
//!   what a server gives beyond that is closed.
//!
//! A client whose server has died goes on with the peers it knows. It joins a restarted
//! server by a new [`Client::connect`]: with a number of its own again, with the same
//! memory if that has a name (`file:`, `shm:`), with new memory if it is a memfd.

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

/// The longest patience: a clock has an end.
const LONGEST: Duration = Duration::from_secs(1 << 20);
/// Messages that one [`Client::update`] takes.
const MESSAGES: usize = 256;

/// A peer of this process, joined to a server.
///
/// Memory and doorbells are shared ([`Arc`]): whoever keeps a clone uses it while the
/// client is updated, and after it is gone.
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

/// What a client learns.
#[derive(Debug)]
pub enum Change {
    /// A peer has come, and can be rung.
    Joined(u16),
    /// A peer has gone; a new one has another number.
    Left(u16),
    /// The server is gone, or broke the protocol: no changes will follow. Peers can
    /// still be rung, and ring.
    Lost(ClientError),
}

/// Why a client is not joined to a server.
#[derive(Debug)]
pub enum ClientError {
    /// There is no server, or the kernel's reason.
    System(io::Error),
    /// The server closed the connection: it ended, or it is full.
    Closed,
    /// The server did not say all in time.
    TimedOut {
        /// Eventfds of our own that it gave.
        given: usize,
        /// How many were wanted.
        wanted: usize,
    },
    /// A version of the protocol that is not 0.
    Version(i64),
    /// A number that has no meaning where it came.
    Number(i64),
    /// A descriptor that is missing, or is there where none belongs.
    Descriptor(i64),
    /// This process has too many open descriptors for another.
    NoRoom,
    /// The memory cannot be mapped.
    Memory(MapError),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(error) => write!(f, "{error}"),
            Self::Closed => f.write_str("the server closed the connection: it ended, or is full"),
            Self::TimedOut { given, wanted } => write!(
                f,
                "the server gave {given} of {wanted} vectors in time: \
                 ask for as many as it gives, or look whether it runs"
            ),
            Self::Version(version) => {
                write!(
                    f,
                    "the server speaks version {version} of the protocol, not 0"
                )
            }
            Self::Number(number) => write!(f, "the server sent {number}, which means nothing here"),
            Self::Descriptor(number) => write!(
                f,
                "the server sent {number} without the descriptor that belongs to it, \
                 or with one that does not"
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
    /// Joins the server at `path`, with `vectors` eventfds of its own (0 counts as 1), and
    /// knows all peers that were there before.
    ///
    /// # Errors
    ///
    /// [`ClientError`]: no server, or one that is full, that breaks the protocol, or that
    /// does not say all within `patience`.
    pub fn connect(path: &Path, vectors: u16, patience: Duration) -> Result<Self, ClientError> {
        let deadline = Instant::now() + patience.min(LONGEST);
        let wanted = usize::from(vectors.max(1));
        let mut link = Link::to(path, deadline)?;
        let timed_out = |given| ClientError::TimedOut { given, wanted };
        let (id, memory) = greeted(|| link.next_until(deadline)?.ok_or(timed_out(0)))?;
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

    /// Our number, by which others ring us.
    pub fn id(&self) -> u16 {
        self.id
    }

    /// The memory that all share.
    pub fn memory(&self) -> &Arc<Mapping> {
        &self.memory
    }

    /// The peers that can be rung, ourselves not among them.
    pub fn peers(&self) -> impl Iterator<Item = u16> {
        let joined = self.peers.iter().filter(|(_, bells)| self.is_whole(bells));
        joined.map(|(&id, _)| id)
    }

    /// What rings us for `vector`: for [`shmem_sync::EventWait`].
    pub fn own(&self, vector: u16) -> Option<&Arc<EventBell>> {
        self.own.get(usize::from(vector))
    }

    /// The doorbell of a peer, as `notify` takes it.
    pub fn bell(&self, peer: u16, vector: u16) -> Option<&Arc<EventBell>> {
        self.peers.get(&peer)?.get(usize::from(vector))
    }

    /// Interrupts a peer; `false` if it is not there or has no such vector.
    ///
    /// That a peer was rung does not say that it looks.
    pub fn ring(&self, peer: u16, vector: u16) -> bool {
        let Some(bell) = self.bell(peer, vector) else {
            return false;
        };
        // It fails only where nobody has read 2^64 - 2 rings: it is readable.
        let _ = rustix::io::write(bell.as_ref(), &1_u64.to_ne_bytes());
        true
    }

    /// Interrupts every peer that is there.
    pub fn ring_all(&self, vector: u16) {
        for peer in self.peers() {
            self.ring(peer, vector);
        }
    }

    /// Whether changes may still come.
    pub fn is_connected(&self) -> bool {
        self.connected
    }

    /// What has changed, without waiting; 256 messages at most, so look again while
    /// the client's descriptor is readable.
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

    /// Learns from one message.
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
    /// Readable while there is something for [`Client::update`].
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.link.socket.as_fd()
    }
}

/// What a server says first: its version, our number, the memory.
fn greeted(
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

/// A message: a number, and what came with it.
type Numbered = (i64, Option<OwnedFd>);

/// The connection.
#[derive(Debug)]
struct Link {
    socket: OwnedFd,
    receiver: Receiver,
}

impl Link {
    fn to(path: &Path, deadline: Instant) -> Result<Self, ClientError> {
        let address = address(path)?;
        let socket = new_socket(SocketType::STREAM)?;
        loop {
            match rustix::net::connect(&socket, &address) {
                Ok(()) => break,
                Err(Errno::INTR) => {}
                // More wait to be accepted than the server lets wait.
                Err(Errno::AGAIN) if Instant::now() < deadline => {
                    thread::sleep(Duration::from_millis(5));
                }
                Err(error) => return Err(error.into()),
            }
        }
        let receiver = Receiver::default();
        Ok(Self { socket, receiver })
    }

    /// The next message, without waiting.
    fn next(&mut self) -> Result<Option<Numbered>, ClientError> {
        match self.receiver.receive(&self.socket)? {
            Received::Message(number, descriptor) => Ok(Some((number, descriptor))),
            Received::Nothing => Ok(None),
            Received::End => Err(ClientError::Closed),
            Received::NoRoom => Err(ClientError::NoRoom),
        }
    }

    /// The next message; none if it does not come before `deadline`.
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
