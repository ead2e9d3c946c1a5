//! The two ends of the channel under test, and their counts.

use shmem_channel::{ChannelOptions, Client, Error, Incoming, Received, Server, Session};
use shmem_core::mem::Window;
use shmem_core::ring::Ring;
use shmem_registry::{Kind, Request};

use super::host::WAIT;
use super::journal::Journal;
use crate::kit::{Cell, Layout, Ledger, OrViolation, Outcome, TestMemory};
use crate::scenarios::alias::ACCOUNT;

pub(crate) const CLIENT: usize = 0;
pub(crate) const SERVER: usize = 1;

/// The partitions of client and server; the harness does not use them.
pub(super) const PARTITIONS: [u8; 2] = [3, 4];

const NAME: &str = "demo";
/// The channel's rings.
pub(crate) const COMMANDS: &str = "demo.command";
pub(crate) const RESULTS: &str = "demo.result";

/// Two rings of `capacity` bytes, and space for the rings that dead partitions left incomplete.
pub(super) fn layout(capacity: u32) -> Layout {
    let mut geometry = Layout::SMALL;
    geometry.segments = 8;
    Layout {
        geometry,
        space: 8 * Ring::segment_len(capacity as usize),
        object: None,
        account: ACCOUNT + 6 + 2 * Journal::LEN,
    }
}

/// The segment of a ring of the channel; `None` before it was created.
pub(crate) fn ring<'m>(memory: &TestMemory<'m>, name: &str) -> Option<Window<'m>> {
    let len = Ring::segment_len(memory.shape as usize);
    let request = Request::named(name.as_bytes(), Kind::RING, len).ok()?;
    let segment = memory.registry.open(&request).ok()?;
    Some(segment.window())
}

/// The journal of the messages of `sender`.
pub(super) fn journal(ledger: Ledger<'_>, sender: usize) -> Journal<'_> {
    Journal::new(ledger, ACCOUNT + 6 + sender * Journal::LEN)
}

/// The epochs of one end, as the ledger counts them.
#[derive(Clone, Copy)]
pub(super) struct Openings<'m> {
    /// The last one that began to open the end.
    pub(super) begun: Cell<'m>,
    /// The last one that has opened the end.
    pub(super) opened: Cell<'m>,
    /// The first one that has opened the end.
    pub(super) first: Cell<'m>,
}

impl<'m> Openings<'m> {
    pub(super) fn new(ledger: Ledger<'m>, role: usize) -> Self {
        Self {
            begun: ledger.account(ACCOUNT + 3 * role),
            opened: ledger.account(ACCOUNT + 3 * role + 1),
            first: ledger.account(ACCOUNT + 3 * role + 2),
        }
    }

    /// Lets the next incarnation open the end with `open`. Returns its epoch.
    pub(super) fn open<T>(self, open: impl FnOnce() -> Result<T, Error>) -> Outcome<(u32, T)> {
        let number = self.begun.add(1) + 1;
        let end = open().or_violation("opening an end of the channel")?;
        if self.begun.get() == number {
            if self.first.get() == 0 {
                self.first.set(number);
            }
            self.opened.set(number);
        }
        Ok((number, end))
    }
}

fn options(memory: &TestMemory<'_>) -> ChannelOptions {
    let capacity = memory.shape as usize;
    ChannelOptions::default()
        .command_capacity(capacity)
        .result_capacity(capacity)
}

pub(super) fn client<'m>(
    session: &Session<'m>,
    memory: &TestMemory<'m>,
) -> Result<Client<'m>, Error> {
    options(memory).client(session, NAME)
}

pub(super) fn server<'m>(
    session: &Session<'m>,
    memory: &TestMemory<'m>,
) -> Result<Server<'m>, Error> {
    options(memory).server(session, NAME)
}

/// Either end, for messages without an answer.
pub(super) enum End<'m> {
    Client(Client<'m>),
    Server(Server<'m>),
}

impl End<'_> {
    pub(super) fn max_len(&self) -> usize {
        match self {
            Self::Client(client) => client.max_len(),
            Self::Server(server) => server.max_len(),
        }
    }

    pub(super) fn discarded(&self) -> u32 {
        match self {
            Self::Client(client) => client.discarded(),
            Self::Server(server) => server.discarded(),
        }
    }

    pub(super) fn send(&mut self, message: &[u8]) -> Result<(), Error> {
        match self {
            Self::Client(client) => client.send(message, WAIT),
            Self::Server(server) => server.send(message, WAIT),
        }
    }

    pub(super) fn recv(&mut self, buffer: &mut [u8]) -> Result<Received<usize>, Error> {
        match self {
            Self::Client(client) => client.recv(buffer, WAIT),
            Self::Server(server) => Ok(match server.recv(buffer, WAIT)? {
                Incoming::PeerRestarted => Received::PeerRestarted,
                Incoming::Message { len } | Incoming::Call { len, .. } => Received::Message(len),
            }),
        }
    }
}
