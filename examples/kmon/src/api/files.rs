//! The messages of copies of files.
//!
//! The client sends requests, one after the other; the server answers each as [`Request`] says.
//! Binary messages are the content of a file. At most [`WINDOW`] bytes are under way to the server.

use kmon_protocol::transfer::{self, Digest};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::fault::Fault;

/// Bytes that may be under way to the server, beyond those of the last [`Answer::Taken`].
pub(crate) const WINDOW: u64 = 1024 * 1024;
/// Bytes of a binary message of the client.
pub(crate) const MAX_PIECE: usize = 60 * 1024;

/// A message of the client.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    /// What is there? Answers `status`; links are followed.
    Status(Path),
    /// Lists a directory. Answers any number of `entries`, then `done`.
    List(Path),
    /// Makes a directory unless it exists. Answers `done`.
    MakeDirectory(PathMode),
    /// Sets permissions. Answers `done`.
    SetMode(PathMode),
    /// Sends a file. Answers `held`. Then `start` with the position after the bytes that the
    /// instance has, or 0, the bytes, and `finish`. Answers `done` when the file has its name.
    Put(PutFile),
    /// Receives a file. Answers `status`. Then `start` with a position and the digest of the bytes
    /// before it. Answers `started`, the bytes, `end` and `done`.
    Get(Path),
    Start(Held),
    Finish(Whole),
    /// Ends the copy. Answers `failed`, unless it has just ended, and the server closes the socket.
    Cancel(bool),
}

/// A message of the server.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    Status(Status),
    Entries(Vec<Entry>),
    /// What an earlier copy has left in the instance.
    Held(Held),
    /// The position of the first byte that follows: that of `start`, or 0.
    Started(u64),
    /// How many bytes of the client's were taken since its `start`.
    Taken(u64),
    /// All bytes of the file were sent.
    End(Whole),
    Done(bool),
    /// The request has failed; others may follow.
    Failed(Failed),
    /// The request cannot be carried out at all. The socket is closed.
    Error(Fault),
}

/// A path of the instance: text, or bytes if it is no UTF-8. A relative one begins at the home
/// directory of guestd's user.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Bytes {
    Text(String),
    Bytes(Vec<u8>),
}

/// A path.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Path {
    pub(crate) path: Bytes,
}

/// A path, and permissions.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PathMode {
    pub(crate) path: Bytes,
    pub(crate) mode: u32,
}

/// A file to send.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PutFile {
    pub(crate) path: Bytes,
    pub(crate) size: u64,
    pub(crate) mode: u32,
    /// Identifies this version of the file: a copy of the same one continues.
    pub(crate) source: Hex,
}

/// The first bytes of a file.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Held {
    pub(crate) offset: u64,
    /// Their digest.
    pub(crate) digest: Hex,
}

/// A whole file.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Whole {
    pub(crate) digest: Hex,
}

/// What a path is.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct Status {
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
    pub(crate) size: u64,
    /// Identifies this version of the file.
    pub(crate) source: Hex,
}

/// One entry of a directory.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct Entry {
    pub(crate) kind: Kind,
    /// A single component of a path.
    pub(crate) name: Bytes,
}

/// What a path is.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    File,
    Directory,
    Link,
    Other,
}

/// Why a request has failed.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct Failed {
    pub(crate) failure: Failure,
    /// One line.
    pub(crate) message: String,
}

/// The kind of a failure.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Failure {
    NotFound,
    Permission,
    IsDirectory,
    NotDirectory,
    NoSpace,
    /// The file changed while it was read.
    Changed,
    /// What arrived is not what was sent.
    Mismatch,
    /// Another copy writes the same file, or too many copies run.
    Busy,
    Cancelled,
    /// The instance did not follow the protocol.
    Protocol,
    Other,
}

/// A SHA-256 digest, as 64 hexadecimal digits.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String)]
pub(crate) struct Hex(pub(crate) Digest);

impl TryFrom<String> for Hex {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || "a digest has 64 hexadecimal digits".to_owned();
        if text.len() != 64 || !text.is_ascii() {
            return Err(wrong());
        }
        let mut digest = Digest::default();
        for (at, byte) in digest.iter_mut().enumerate() {
            let digits = &text[2 * at..2 * at + 2];
            *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
        }
        Ok(Self(digest))
    }
}

impl From<Hex> for String {
    fn from(Hex(digest): Hex) -> Self {
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Self {
        match str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Bytes(bytes.to_vec()),
        }
    }
}

impl Bytes {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }
}

impl From<transfer::FileStatus> for Status {
    fn from(status: transfer::FileStatus) -> Self {
        Self {
            kind: status.kind.into(),
            mode: status.mode,
            size: status.size,
            source: Hex(status.source),
        }
    }
}

impl From<Status> for transfer::FileStatus {
    fn from(status: Status) -> Self {
        Self {
            kind: status.kind.into(),
            mode: status.mode,
            size: status.size,
            source: status.source.0,
        }
    }
}

/// Converts between the variants of two enumerations that have the same names.
macro_rules! same {
    ($ours:ty, $theirs:ty, $($name:ident),*) => {
        impl From<$theirs> for $ours {
            fn from(theirs: $theirs) -> Self {
                match theirs { $(<$theirs>::$name => Self::$name),* }
            }
        }
        impl From<$ours> for $theirs {
            fn from(ours: $ours) -> Self {
                match ours { $(<$ours>::$name => Self::$name),* }
            }
        }
    };
}

same!(Kind, transfer::FileKind, File, Directory, Link, Other);
same!(
    Failure,
    transfer::Failure,
    NotFound,
    Permission,
    IsDirectory,
    NotDirectory,
    NoSpace,
    Changed,
    Mismatch,
    Busy,
    Cancelled,
    Protocol,
    Other
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_text_or_bytes_and_a_digest_has_64_digits() {
        let json = |bytes: &[u8]| serde_json::to_string(&Bytes::from(bytes)).unwrap();
        assert_eq!(json(b"/srv/x"), "\"/srv/x\"");
        assert_eq!(json(b"/\xff"), "[47,255]");
        for bytes in [&b"/srv/x"[..], b"/\xff"] {
            let back: Bytes = serde_json::from_str(&json(bytes)).unwrap();
            assert_eq!(back.as_bytes(), bytes);
        }
        let text = String::from(Hex([0xa5; 32]));
        assert_eq!(Hex::try_from(text.clone()), Ok(Hex([0xa5; 32])));
        for wrong in [&text[1..], &text.replace('a', "g"), &"é".repeat(32)] {
            assert!(Hex::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }
}
