//! What happens at a server, and why one cannot be.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// What happened at a server.
#[derive(Debug)]
pub enum Event {
    /// A peer has come.
    Joined {
        /// Its number.
        peer: u16,
        /// Its process, where the kernel knows it.
        process: Option<i32>,
    },
    /// A peer has gone, or was dropped; its number is not given again soon.
    Left {
        /// Its number.
        peer: u16,
        /// Why.
        why: Reason,
    },
    /// A peer was turned away.
    Refused(Reason),
    /// A peer has not read all that it was sent.
    Behind {
        /// Its number.
        peer: u16,
        /// Messages that wait for it.
        waiting: usize,
    },
}

/// Why a peer is none.
#[derive(Debug)]
pub enum Reason {
    /// It closed its connection, or died.
    Closed,
    /// It sent something, which no client does.
    Spoke,
    /// It does not read: so many messages wait for it.
    Stuck(usize),
    /// There are as many peers as there may be.
    Full(u16),
    /// The kernel's reason.
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
            Self::Behind { peer, waiting } => {
                write!(f, "peer {peer} is behind: {waiting} messages wait for it")
            }
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("it closed its connection"),
            Self::Spoke => f.write_str("dropped, it sent something, which no client does"),
            Self::Stuck(waiting) => {
                write!(
                    f,
                    "dropped, it does not read: {waiting} messages wait for it"
                )
            }
            Self::Full(peers) => write!(f, "there are {peers} already, as many as there may be"),
            Self::Failed(error) => write!(f, "{error}"),
        }
    }
}

/// Why there is no server.
#[derive(Debug)]
pub enum ServeError {
    /// The socket's path is longer than an address has room for.
    Name(PathBuf),
    /// A living server has the socket.
    InUse(PathBuf),
    /// The path is something else, which is left alone.
    NotASocket(PathBuf),
    /// The memory has a length that QEMU's device cannot have.
    Memory {
        /// Its bytes.
        len: u64,
    },
    /// No peers, or no vectors.
    Limits,
    /// The kernel's reason.
    System {
        /// What could not be done.
        what: String,
        /// Why.
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
                "a server lives at {} already: end it first, or give another path",
                path.display()
            ),
            Self::NotASocket(path) => write!(
                f,
                "{} is there and is no socket: give another path",
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
