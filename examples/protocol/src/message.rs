//! The records of the command ring (KMON to instance) and of the result ring (back).
//!
//! Every record starts with eight bytes, little-endian: `kind: u16`, `incarnation: u16`,
//! `stream: u32`; the body follows. `incarnation` says for which of the instance's incarnations
//! a command is, by the low half of its number, and is zero in an event. `stream`
//! names one `exec` and is zero for the console. A receiver gets [`Malformed`]
//! for a kind or a body it does not know: both ends skip such a record.

use std::mem::offset_of;

use zerocopy::byteorder::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

pub use crate::wire::Malformed;
use crate::wire::{Reader, put_text};

/// The eight bytes in front of every record.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    kind: U16,
    incarnation: U16,
    stream: U32,
}

/// Longest body of an event that carries bytes.
pub(crate) const EVENT_BODY: usize = 16 << 10;

/// Bytes of the header in front of a record's body.
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

/// What KMON asks of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// Bytes typed at the console.
    Input(&'a [u8]),
    /// The console's terminal has this size now.
    Resize { rows: u16, columns: u16 },
    /// Run `arguments` (the program first) apart from the console.
    Exec {
        stream: u32,
        /// Milliseconds after which its process group is killed; 0 is never.
        timeout_ms: u32,
        arguments: Vec<&'a [u8]>,
    },
    /// Kill the process group of an `Exec`.
    Kill { stream: u32 },
    /// Ask whether the console's shell waits for a command; answered by [`Event::Idle`].
    QueryIdle { stream: u32 },
    /// End the shell and the daemon.
    Halt,
}

impl<'a> Command<'a> {
    pub(crate) const INPUT: u16 = 1;
    pub(crate) const RESIZE: u16 = 2;
    pub(crate) const EXEC: u16 = 3;
    pub(crate) const KILL: u16 = 4;
    pub(crate) const QUERY_IDLE: u16 = 5;
    pub(crate) const HALT: u16 = 6;

    /// Writes the record for incarnation number `incarnation` of the instance into `out`,
    /// replacing what was there.
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
        }
        let at = offset_of!(Header, incarnation);
        out[at..at + 2].copy_from_slice(&(incarnation as u16).to_le_bytes());
    }

    /// Reads a record, and the low half of the number of the incarnation that it is for.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if the kind is unknown or the body is not the kind's.
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
            _ => Err(Malformed {
                what: "command",
                at: 0,
            }),
        }
    }
}

/// How a command that `Exec` started came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It exited with this code.
    Exited(i32),
    /// This signal ended it.
    Signalled(i32),
    /// It ran longer than its time-out, and its process group was killed.
    TimedOut,
    /// It could not be started, for this reason.
    NotStarted(String),
}

/// What an instance tells KMON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The daemon is there, in its incarnation number `incarnation`: the first event of each
    /// incarnation, and said again to each new incarnation of KMON.
    Hello { version: u16, incarnation: u32 },
    /// Bytes the console's terminal printed.
    Output(&'a [u8]),
    /// Bytes an `Exec` wrote to its standard output.
    Stdout { stream: u32, bytes: &'a [u8] },
    /// Bytes an `Exec` wrote to its standard error.
    Stderr { stream: u32, bytes: &'a [u8] },
    /// An `Exec` ended; nothing more comes from `stream`.
    Ended { stream: u32, ending: Ending },
    /// Answer to [`Command::QueryIdle`]: the shell itself is in the foreground, and all input was
    /// read.
    Idle { stream: u32, idle: bool },
    /// The console's shell ended and a new one was started.
    ShellRestarted { status: i32 },
    /// So many bytes of output were dropped, in all of this incarnation, because nobody took them.
    Dropped { bytes: u64 },
    /// So many commands, since it was said last, were not for this incarnation of the
    /// instance or not from this incarnation of KMON, and were not run.
    Discarded { commands: u32 },
    /// The daemon ends by itself.
    Goodbye,
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

    pub(crate) const EXITED: u32 = 0;
    pub(crate) const SIGNALLED: u32 = 1;
    pub(crate) const TIMED_OUT: u32 = 2;
    pub(crate) const NOT_STARTED: u32 = 3;

    /// Writes the record into `out`, replacing what was there.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Hello {
                version,
                incarnation,
            } => {
                start(out, Self::HELLO, 0);
                out.extend_from_slice(&version.to_le_bytes());
                out.extend_from_slice(&incarnation.to_le_bytes());
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
                put_ending(out, ending);
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
        }
    }

    /// Reads a record.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if the kind is unknown or the body is not the kind's.
    pub fn decode(record: &'a [u8]) -> Result<Self, Malformed> {
        let (header, mut body) = split("event", record)?;
        let stream = header.stream.get();
        match header.kind.get() {
            Self::HELLO => Ok(Self::Hello {
                version: body.u16()?,
                // Another version may say less.
                incarnation: body.u32().unwrap_or(0),
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
                ending: take_ending(&mut body)?,
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
            _ => Err(Malformed {
                what: "event",
                at: 0,
            }),
        }
    }
}

/// Bytes of output: never more than an honest instance sends at once.
fn output(mut body: Reader<'_>) -> Result<&[u8], Malformed> {
    let malformed = body.malformed();
    let bytes = body.rest();
    (bytes.len() <= EVENT_BODY)
        .then_some(bytes)
        .ok_or(malformed)
}

fn put_ending(out: &mut Vec<u8>, ending: &Ending) {
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

fn take_ending(body: &mut Reader<'_>) -> Result<Ending, Malformed> {
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
    fn every_command_comes_back_as_it_was_sent() {
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
    fn every_event_comes_back_as_it_was_sent() {
        let events = [
            Event::Hello {
                version: 2,
                incarnation: 3,
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
    fn a_record_cut_anywhere_is_malformed_or_shorter_and_never_a_panic() {
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
    fn output_that_no_honest_instance_sends_at_once_is_malformed() {
        let mut record = Vec::new();
        for (len, is_event) in [(EVENT_BODY, true), (EVENT_BODY + 1, false)] {
            Event::Output(&vec![b'x'; len]).encode(&mut record);
            assert_eq!(Event::decode(&record).is_ok(), is_event);
        }
    }
}
