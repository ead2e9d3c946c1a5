//! The lines of QEMU's machine protocol, as far as they are needed here.
//!
//! Written by hand, since only five commands and five events are needed, and unknown events
//! must be ignored. One call writes each command, since QEMU obeys at the closing brace.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::event::{Event, Off};

/// The longest line that is read from QEMU.
const LONGEST: u64 = 1 << 20;
/// Time that QEMU has to read a command.
const WRITE: Duration = Duration::from_secs(1);

/// The reason why QEMU did not carry out a command.
#[derive(Debug)]
pub enum QmpError {
    /// There is no connection, or no longer one.
    Unconnected,
    /// No answer within the deadline.
    Silent { command: &'static str },
    /// QEMU refused, for this reason.
    Refused {
        command: &'static str,
        reason: String,
    },
}

impl fmt::Display for QmpError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unconnected => out.write_str("there is no connection to QEMU"),
            Self::Silent { command } => write!(out, "QEMU does not answer `{command}`"),
            Self::Refused { command, reason } => write!(out, "QEMU refuses `{command}`: {reason}"),
        }
    }
}

impl std::error::Error for QmpError {}

/// One line from QEMU.
#[derive(Debug, PartialEq)]
pub(crate) enum Message {
    /// The answer to the command with this number: a value, or the text of an error.
    Answer(u64, Result<Value, String>),
    /// An event, with the state that it leads to.
    Event(Event),
    /// A line that is not needed.
    Other,
}

/// The reading end.
pub(crate) struct Lines(BufReader<UnixStream>);

impl Lines {
    pub(crate) fn new(stream: UnixStream) -> Self {
        Self(BufReader::new(stream))
    }

    /// Waits for the next line.
    pub(crate) fn next(&mut self) -> io::Result<Message> {
        let mut line = Vec::new();
        let len = (&mut self.0).take(LONGEST).read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            let kind = match len {
                0 => io::ErrorKind::UnexpectedEof,
                _ => io::ErrorKind::InvalidData,
            };
            return Err(kind.into());
        }
        Ok(parse(&serde_json::from_slice(&line)?))
    }
}

/// Writes one command.
pub(crate) fn write(
    mut stream: &UnixStream,
    id: u64,
    command: &str,
    arguments: Value,
) -> io::Result<()> {
    let mut line = json!({ "execute": command, "id": id });
    if !arguments.is_null() {
        line["arguments"] = arguments;
    }
    stream.set_write_timeout(Some(WRITE))?;
    stream.write_all(format!("{line}\n").as_bytes())
}

fn parse(line: &Value) -> Message {
    if let Some(name) = line["event"].as_str() {
        let event = event(name, &line["data"]);
        return event.map_or(Message::Other, Message::Event);
    }
    let Some(id) = line["id"].as_u64() else {
        return Message::Other;
    };
    let has = |key: &str| {
        line.as_object()
            .is_some_and(|line: &Map<_, _>| line.contains_key(key))
    };
    if has("return") {
        return Message::Answer(id, Ok(line["return"].clone()));
    }
    if has("error") {
        let reason = line["error"]["desc"].as_str().unwrap_or("no reason given");
        return Message::Answer(id, Err(reason.to_owned()));
    }
    Message::Other
}

fn event(name: &str, data: &Value) -> Option<Event> {
    let by_guest = data["guest"].as_bool().unwrap_or(false);
    Some(match name {
        "STOP" => Event::Stopped,
        "RESUME" => Event::Resumed,
        "RESET" => Event::Reset { by_guest },
        "GUEST_PANICKED" => Event::Panicked,
        "POWERDOWN" => Event::PowerDown,
        "SHUTDOWN" => Event::Shutdown(parse_off(by_guest, data)),
        _ => return None,
    })
}

fn parse_off(by_guest: bool, data: &Value) -> Off {
    match data["reason"].as_str() {
        Some("guest-reset") => Off::GuestReset,
        _ if by_guest => Off::Guest,
        _ => Off::Host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Message {
        parse(&serde_json::from_str(line).unwrap())
    }

    #[test]
    fn an_answer_has_the_number_of_its_command() {
        let value = json!({"status": "running"});
        assert_eq!(
            parsed(r#"{"return": {"status": "running"}, "id": 7}"#),
            Message::Answer(7, Ok(value))
        );
        assert_eq!(
            parsed(r#"{"id": 8, "error": {"class": "GenericError", "desc": "no"}}"#),
            Message::Answer(8, Err("no".to_owned()))
        );
    }

    #[test]
    fn unknown_events_are_ignored() {
        let reset = r#"{"event": "RESET", "data": {"guest": true, "reason": "guest-reset"}}"#;
        let by_guest = true;
        assert_eq!(parsed(reset), Message::Event(Event::Reset { by_guest }));
        assert_eq!(
            parsed(r#"{"event": "RTC_CHANGE", "data": {}}"#),
            Message::Other
        );
        assert_eq!(parsed(r#"[1, {"event": 3}]"#), Message::Other);
        assert_eq!(parsed(r#"{"QMP": {"version": {}}}"#), Message::Other);
    }

    #[test]
    fn a_line_without_end_is_an_error() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"{\"event\": \"STOP\"}\n{\"eve").unwrap();
        drop(theirs);
        let mut lines = Lines::new(ours);
        assert_eq!(lines.next().unwrap(), Message::Event(Event::Stopped));
        let error = lines.next().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
