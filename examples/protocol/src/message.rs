//! The records of the command ring (KMON to instance) and of the result ring (instance to KMON).
//!
//! Every record starts with eight bytes, little-endian: `kind: u16`, `incarnation: u16`, `stream:
//! u32`; the body follows. `incarnation` is the low half of the number of the instance's
//! incarnation that a command is for; it is zero in an event. `stream` identifies an `exec` or a copy
//! and is zero for the console. Decoding an unknown kind or an invalid body returns [`Malformed`]; both
//! ends skip such a record.

use std::mem::offset_of;

use zerocopy::byteorder::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::transfer::{Report, Request};
pub(crate) use crate::wire::EVENT_BODY;
pub use crate::wire::Malformed;
use crate::wire::{Reader, put_text};

/// The first eight bytes of every record.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    kind: U16,
    incarnation: U16,
    stream: U32,
}

/// Length of the header before a record's body.
pub const HEADER_LEN: usize = size_of::<Header>();

fn start(out: &mut Vec<u8>, kind: u16, stream: u32) {
    out.clear();
    let header = Header {
        kind: kind.into(),
        incarnation: 0.into(),
        stream: stream.into(),
    };
    out.extend_from_slice(header.as_bytes());
}

fn split<'a>(what: &'static str, record: &'a [u8]) -> Result<(Header, Reader<'a>), Malformed> {
    let (header, body) = Header::read_from_prefix(record).map_err(|_| Malformed {
        what,
        at: record.len(),
    })?;
    Ok((header, Reader::new(what, body)))
}

/// A request of KMON to an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// Bytes typed at the console.
    Input(&'a [u8]),
    /// The console's terminal has this size.
    Resize { rows: u16, columns: u16 },
    /// Run a program separately from the console; `arguments` starts with the program.
    Exec {
        stream: u32,
        /// Milliseconds after which its process group is ended, as by `Kill`; 0 means never.
        timeout_ms: u32,
        arguments: Vec<&'a [u8]>,
    },
    /// End the process group of an `Exec`: it gets SIGTERM, and SIGKILL after a grace period of 2 s,
    /// or when this is received a second time.
    Kill { stream: u32 },
    /// Ask whether the console's shell waits for a command; [`Event::Idle`] answers.
    QueryIdle { stream: u32 },
    /// End the shell and the daemon.
    Halt,
    /// Copy a file; see [`transfer`](crate::transfer).
    Transfer { stream: u32, request: Request<'a> },
}

impl<'a> Command<'a> {
    pub(crate) const INPUT: u16 = 1;
    pub(crate) const RESIZE: u16 = 2;
    pub(crate) const EXEC: u16 = 3;
    pub(crate) const KILL: u16 = 4;
    pub(crate) const QUERY_IDLE: u16 = 5;
    pub(crate) const HALT: u16 = 6;

    /// Replaces the content of `out` by the record for incarnation number `incarnation` of the
    /// instance.
    pub fn encode(&self, incarnation: u32, out: &mut Vec<u8>) {
        match self {
            Self::Input(bytes) => {
                start(out, Self::INPUT, 0);
                out.extend_from_slice(bytes);
            }
            Self::Resize { rows, columns } => {
                start(out, Self::RESIZE, 0);
                out.extend_from_slice(&rows.to_le_bytes());
                out.extend_from_slice(&columns.to_le_bytes());
            }
            Self::Exec {
                stream,
                timeout_ms,
                arguments,
            } => {
                start(out, Self::EXEC, *stream);
                out.extend_from_slice(&timeout_ms.to_le_bytes());
                for argument in arguments {
                    put_text(out, argument);
                }
            }
            Self::Kill { stream } => start(out, Self::KILL, *stream),
            Self::QueryIdle { stream } => start(out, Self::QUERY_IDLE, *stream),
            Self::Halt => start(out, Self::HALT, 0),
            Self::Transfer { stream, request } => {
                start(out, request.kind(), *stream);
                request.encode_body(out);
            }
        }
        let at = offset_of!(Header, incarnation);
        out[at..at + 2].copy_from_slice(&(incarnation as u16).to_le_bytes());
    }

    /// Decodes a record. Also returns the low half of the number of the incarnation that it is for.
    ///
    /// # Errors
    /// [`Malformed`] if the kind is unknown or its body is invalid.
    pub fn decode(record: &'a [u8]) -> Result<(u16, Self), Malformed> {
        let (header, body) = split("command", record)?;
        let command = Self::decode_body(header.kind.get(), header.stream.get(), body)?;
        Ok((header.incarnation.get(), command))
    }

    fn decode_body(kind: u16, stream: u32, mut body: Reader<'a>) -> Result<Self, Malformed> {
        match kind {
            Self::INPUT => Ok(Self::Input(body.rest())),
            Self::RESIZE => Ok(Self::Resize {
                rows: body.u16()?,
                columns: body.u16()?,
            }),
            Self::EXEC => {
                let timeout_ms = body.u32()?;
                let mut arguments = Vec::new();
                let mut list = Reader::new("command", body.rest());
                while let Ok(len) = list.u16() {
                    arguments.push(list.take(usize::from(len))?);
                }
                if arguments.is_empty() {
                    return Err(list.malformed());
                }
                Ok(Self::Exec {
                    stream,
                    timeout_ms,
                    arguments,
                })
            }
            Self::KILL => Ok(Self::Kill { stream }),
            Self::QUERY_IDLE => Ok(Self::QueryIdle { stream }),
            Self::HALT => Ok(Self::Halt),
            Request::FIRST..=Request::LAST => Ok(Self::Transfer {
                stream,
                request: Request::decode_body(kind, body)?,
            }),
            _ => Err(Malformed {
                what: "command",
                at: 0,
            }),
        }
    }
}

/// How a command of `Exec` ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It exited with this code.
    Exited(i32),
    /// This signal killed it.
    Signalled(i32),
    /// It ran longer than its time-out, and its process group was killed.
    TimedOut,
    /// It could not be started, for this reason.
    NotStarted(String),
}

/// A report of an instance to KMON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The greeting: the daemon runs as incarnation number `incarnation`. It is the first event of
    /// each incarnation, and is repeated for each new incarnation of KMON. `features` has a bit for
    /// each thing that some daemons of this version cannot do, as [`Event::COPIES_FILES`].
    Hello {
        version: u16,
        incarnation: u32,
        features: u32,
    },
    /// Output of the console's terminal.
    Output(&'a [u8]),
    /// Standard output of an `Exec`.
    Stdout { stream: u32, bytes: &'a [u8] },
    /// Standard error of an `Exec`.
    Stderr { stream: u32, bytes: &'a [u8] },
    /// An `Exec` ended; this is the last event of `stream`.
    Ended { stream: u32, ending: Ending },
    /// Answer to [`Command::QueryIdle`]: `idle` is true if the shell itself is in the foreground
    /// and has read all input.
    Idle { stream: u32, idle: bool },
    /// The console's shell ended and a new one was started.
    ShellRestarted { status: i32 },
    /// The number of bytes of output that this incarnation has dropped because KMON did not receive
    /// them.
    Dropped { bytes: u64 },
    /// The number of commands, since the last such event, that were not run because they were for
    /// another incarnation of the instance or from another incarnation of KMON.
    Discarded { commands: u32 },
    /// The daemon is about to end.
    Goodbye,
    /// News of a copy; see [`transfer`](crate::transfer).
    Transfer { stream: u32, report: Report<'a> },
}

impl<'a> Event<'a> {
    pub(crate) const HELLO: u16 = 1;
    pub(crate) const OUTPUT: u16 = 2;
    pub(crate) const STDOUT: u16 = 3;
    pub(crate) const STDERR: u16 = 4;
    pub(crate) const ENDED: u16 = 5;
    pub(crate) const IDLE: u16 = 6;
    pub(crate) const SHELL_RESTARTED: u16 = 7;
    pub(crate) const DROPPED: u16 = 8;
    pub(crate) const GOODBYE: u16 = 9;
    pub(crate) const DISCARDED: u16 = 10;

    /// In [`Event::Hello`]: the daemon accepts [`Command::Transfer`].
    pub const COPIES_FILES: u32 = 1;

    pub(crate) const EXITED: u32 = 0;
    pub(crate) const SIGNALLED: u32 = 1;
    pub(crate) const TIMED_OUT: u32 = 2;
    pub(crate) const NOT_STARTED: u32 = 3;

    /// Replaces the content of `out` by the record.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Hello {
                version,
                incarnation,
                features,
            } => {
                start(out, Self::HELLO, 0);
                out.extend_from_slice(&version.to_le_bytes());
                out.extend_from_slice(&incarnation.to_le_bytes());
                out.extend_from_slice(&features.to_le_bytes());
            }
            Self::Output(bytes) => {
                start(out, Self::OUTPUT, 0);
                out.extend_from_slice(bytes);
            }
            Self::Stdout { stream, bytes } => {
                start(out, Self::STDOUT, *stream);
                out.extend_from_slice(bytes);
            }
            Self::Stderr { stream, bytes } => {
                start(out, Self::STDERR, *stream);
                out.extend_from_slice(bytes);
            }
            Self::Ended { stream, ending } => {
                start(out, Self::ENDED, *stream);
                encode_ending(out, ending);
            }
            Self::Idle { stream, idle } => {
                start(out, Self::IDLE, *stream);
                out.extend_from_slice(&u16::from(*idle).to_le_bytes());
            }
            Self::ShellRestarted { status } => {
                start(out, Self::SHELL_RESTARTED, 0);
                out.extend_from_slice(&status.to_le_bytes());
            }
            Self::Dropped { bytes } => {
                start(out, Self::DROPPED, 0);
                out.extend_from_slice(&bytes.to_le_bytes());
            }
            Self::Discarded { commands } => {
                start(out, Self::DISCARDED, 0);
                out.extend_from_slice(&commands.to_le_bytes());
            }
            Self::Goodbye => start(out, Self::GOODBYE, 0),
            Self::Transfer { stream, report } => {
                start(out, report.kind(), *stream);
                report.encode_body(out);
            }
        }
    }

    /// Decodes a record.
    ///
    /// # Errors
    /// [`Malformed`] if the kind is unknown or its body is invalid.
    pub fn decode(record: &'a [u8]) -> Result<Self, Malformed> {
        let (header, mut body) = split("event", record)?;
        let stream = header.stream.get();
        match header.kind.get() {
            Self::HELLO => Ok(Self::Hello {
                version: body.u16()?,
                // Another version may send less, and other daemons of this version.
                incarnation: body.u32().unwrap_or(0),
                features: body.u32().unwrap_or(0),
            }),
            Self::OUTPUT => Ok(Self::Output(output(body)?)),
            Self::STDOUT => Ok(Self::Stdout {
                stream,
                bytes: output(body)?,
            }),
            Self::STDERR => Ok(Self::Stderr {
                stream,
                bytes: output(body)?,
            }),
            Self::ENDED => Ok(Self::Ended {
                stream,
                ending: decode_ending(&mut body)?,
            }),
            Self::IDLE => Ok(Self::Idle {
                stream,
                idle: body.u16()? != 0,
            }),
            Self::SHELL_RESTARTED => Ok(Self::ShellRestarted {
                status: body.u32()?.cast_signed(),
            }),
            Self::DROPPED => Ok(Self::Dropped { bytes: body.u64()? }),
            Self::DISCARDED => Ok(Self::Discarded {
                commands: body.u32()?,
            }),
            Self::GOODBYE => Ok(Self::Goodbye),
            kind @ Report::FIRST..=Report::LAST => Ok(Self::Transfer {
                stream,
                report: Report::decode_body(kind, body)?,
            }),
            _ => Err(Malformed {
                what: "event",
                at: 0,
            }),
        }
    }
}

/// Decodes output, whose length is limited to that of an honest instance.
fn output(mut body: Reader<'_>) -> Result<&[u8], Malformed> {
    let malformed = body.malformed();
    let bytes = body.rest();
    (bytes.len() <= EVENT_BODY)
        .then_some(bytes)
        .ok_or(malformed)
}

fn encode_ending(out: &mut Vec<u8>, ending: &Ending) {
    let (how, value, reason) = match ending {
        Ending::Exited(code) => (Event::EXITED, *code, ""),
        Ending::Signalled(signal) => (Event::SIGNALLED, *signal, ""),
        Ending::TimedOut => (Event::TIMED_OUT, 0, ""),
        Ending::NotStarted(reason) => (Event::NOT_STARTED, 0, reason.as_str()),
    };
    out.extend_from_slice(&how.to_le_bytes());
    out.extend_from_slice(&value.to_le_bytes());
    put_text(out, reason.as_bytes());
}

fn decode_ending(body: &mut Reader<'_>) -> Result<Ending, Malformed> {
    let how = body.u32()?;
    let value = body.u32()?.cast_signed();
    let reason = body.text()?;
    match how {
        Event::EXITED => Ok(Ending::Exited(value)),
        Event::SIGNALLED => Ok(Ending::Signalled(value)),
        Event::TIMED_OUT => Ok(Ending::TimedOut),
        Event::NOT_STARTED => Ok(Ending::NotStarted(reason)),
        _ => Err(body.malformed()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_decoded_as_it_was_encoded() {
        let commands = [
            Command::Input(&[0, 0xff, 0x1d, b'\r']),
            Command::Input(b""),
            Command::Resize {
                rows: 50,
                columns: 132,
            },
            Command::Exec {
                stream: 7,
                timeout_ms: 1500,
                arguments: vec![b"sh", b"-c", b"exit 3", b""],
            },
            Command::Kill { stream: 7 },
            Command::QueryIdle { stream: 9 },
            Command::Halt,
        ];
        let mut record = Vec::new();
        for command in commands {
            command.encode(0x1_0203, &mut record);
            assert_eq!(Command::decode(&record), Ok((0x0203, command)));
        }
    }

    #[test]
    fn every_event_is_decoded_as_it_was_encoded() {
        let events = [
            Event::Hello {
                version: 2,
                incarnation: 3,
                features: 1,
            },
            Event::Output(&[0xff; 3]),
            Event::Stdout {
                stream: 1,
                bytes: b"out",
            },
            Event::Stderr {
                stream: 1,
                bytes: b"err",
            },
            Event::Ended {
                stream: 1,
                ending: Ending::Exited(-1),
            },
            Event::Ended {
                stream: 2,
                ending: Ending::Signalled(9),
            },
            Event::Ended {
                stream: 3,
                ending: Ending::TimedOut,
            },
            Event::Ended {
                stream: 4,
                ending: Ending::NotStarted("no such file".into()),
            },
            Event::Idle {
                stream: 5,
                idle: true,
            },
            Event::ShellRestarted { status: 130 },
            Event::Dropped { bytes: u64::MAX },
            Event::Discarded { commands: 4 },
            Event::Goodbye,
        ];
        let mut record = Vec::new();
        for event in events {
            event.encode(&mut record);
            assert_eq!(Event::decode(&record), Ok(event));
        }
    }

    #[test]
    fn a_truncated_or_garbled_record_is_malformed() {
        let mut record = Vec::new();
        Event::Ended {
            stream: 4,
            ending: Ending::NotStarted("gone".into()),
        }
        .encode(&mut record);
        for len in 0..record.len() {
            assert!(Event::decode(&record[..len]).is_err());
        }
        assert!(Command::decode(&[0xff; 64]).is_err());
    }

    #[test]
    fn output_beyond_the_limit_is_malformed() {
        let mut record = Vec::new();
        for (len, is_event) in [(EVENT_BODY, true), (EVENT_BODY + 1, false)] {
            Event::Output(&vec![b'x'; len]).encode(&mut record);
            assert_eq!(Event::decode(&record).is_ok(), is_event);
        }
    }
}
