//! Events of a server, and the reasons why it cannot start.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// An event of a server.
#[derive(Debug)]
pub enum Event {
    /// A peer has joined.
    Joined {
        /// Its number.
        peer: u16,
        /// Its process, if the kernel knows it.
        process: Option<i32>,
    },
    /// A peer has left, or was dropped. Its number is not used again soon.
    Left {
        /// Its number.
        peer: u16,
        /// The reason.
        why: Reason,
    },
    /// A peer was refused.
    Refused(Reason),
    /// A peer has not read all messages.
    Slow {
        /// Its number.
        peer: u16,
        /// Messages that are not sent yet.
        waiting: usize,
    },
}

/// The reason why a peer was dropped or refused.
#[derive(Debug)]
pub enum Reason {
    /// It closed its connection, or died.
    Closed,
    /// It sent data, which no client does.
    SentData,
    /// It does not read: this many messages wait for it.
    Stuck(usize),
    /// The largest number of peers is reached.
    Full(u16),
    /// A system call failed.
    Failed(io::Error),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Joined {
                peer,
                process: Some(process),
            } => write!(f, "peer {peer} joined: process {process}"),
            Self::Joined {
                peer,
                process: None,
            } => write!(f, "peer {peer} joined"),
            Self::Left { peer, why } => write!(f, "peer {peer} left: {why}"),
            Self::Refused(why) => write!(f, "a peer was refused: {why}"),
            Self::Slow { peer, waiting } => {
                write!(
                    f,
                    "peer {peer} reads slowly: {waiting} messages wait for it"
                )
            }
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("it closed its connection"),
            Self::SentData => f.write_str("dropped, it sent data, which no client does"),
            Self::Stuck(waiting) => {
                write!(
                    f,
                    "dropped, it does not read: {waiting} messages wait for it"
                )
            }
            Self::Full(peers) => write!(f, "there are already {peers} peers, which is the limit"),
            Self::Failed(error) => write!(f, "{error}"),
        }
    }
}

/// The reason why a server cannot start.
#[derive(Debug)]
pub enum ServeError {
    /// The socket's path is too long for an address.
    Name(PathBuf),
    /// A living server uses the socket.
    InUse(PathBuf),
    /// The path is not a socket. It was not changed.
    NotASocket(PathBuf),
    /// The memory has a length that is impossible for QEMU's device.
    Memory {
        /// Its length in bytes.
        len: u64,
    },
    /// The limits allow no peer, or no vector.
    Limits,
    /// A system call failed.
    System {
        /// The action that failed.
        what: String,
        /// The reason.
        error: io::Error,
    },
}

impl ServeError {
    pub(crate) fn system(verb: &str, path: &Path, error: io::Error) -> Self {
        let what = format!("{verb} the socket {}", path.display());
        Self::System { what, error }
    }
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(path) => write!(
                f,
                "the socket's path {} is longer than 107 bytes: give a shorter one",
                path.display()
            ),
            Self::InUse(path) => write!(
                f,
                "a server already runs at {}: end it first, or give another path",
                path.display()
            ),
            Self::NotASocket(path) => write!(
                f,
                "{} exists and is not a socket: give another path",
                path.display()
            ),
            Self::Memory { len } => write!(
                f,
                "the memory has {len} bytes; a PCI device needs a power of two, at least 4096"
            ),
            Self::Limits => f.write_str("a server needs at least one peer and one vector"),
            Self::System { what, error } => write!(f, "cannot {what}: {error}"),
        }
    }
}

impl std::error::Error for ServeError {}
