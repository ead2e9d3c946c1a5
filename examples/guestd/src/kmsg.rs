//! Reads the kernel's log from `/dev/kmsg`, one line at a time.
//!
//! Each read returns one record, `prefix,sequence,time,flags;text`, followed by lines of
//! properties, which are left out. A gap between two sequence numbers shows how many records the
//! kernel overwrote before they were read.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use kmon_protocol::KernelLine;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

/// Longer than any record: the kernel cuts records at 8 KiB.
const RECORD: usize = 16 << 10;
/// How many reads in a row may return no line.
const ATTEMPTS: usize = 64;

/// A reader of the log, from its oldest line on.
pub(crate) struct Kmsg {
    log: OwnedFd,
    record: Vec<u8>,
}

/// One line of the log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) sequence: u64,
    time_us: u64,
    prefix: u32,
    text: Vec<u8>,
}

impl Kmsg {
    /// Opens this kernel's log at its oldest line.
    pub(crate) fn open() -> io::Result<Self> {
        Self::open_at("/dev/kmsg")
    }

    fn open_at(path: &str) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let log = rustix::fs::open(path, flags, Mode::empty())?;
        // Without mounted devices, the first program that writes to this path creates a regular
        // file, which is always readable and never has a line.
        let mode = rustix::fs::fstat(&log)?.st_mode;
        if FileType::from_raw_mode(mode) != FileType::CharacterDevice {
            return Err(io::Error::other(format!("{path} is not a device")));
        }
        Ok(Self::from_fd(log))
    }

    /// Creates a reader of a descriptor whose reads return one record each and never wait.
    pub(crate) fn from_fd(log: OwnedFd) -> Self {
        Self {
            log,
            record: vec![0; RECORD],
        }
    }

    /// Returns the descriptor that becomes readable with the next line.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.log.as_fd()
    }

    /// Returns the next line; `None` if there is none yet. Never waits.
    pub(crate) fn next(&mut self) -> io::Result<Option<Line>> {
        for _ in 0..ATTEMPTS {
            match rustix::io::read(&self.log, &mut self.record) {
                Ok(0) | Err(Errno::AGAIN) => return Ok(None),
                Ok(len) => {
                    if let Some(line) = Line::parse(&self.record[..len]) {
                        return Ok(Some(line));
                    }
                }
                // Overwritten meanwhile, or longer than the buffer: the next read returns the next
                // record.
                Err(Errno::PIPE | Errno::INVAL | Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }
}

impl Line {
    fn parse(record: &[u8]) -> Option<Self> {
        let text_at = record.iter().position(|&byte| byte == b';')? + 1;
        let (head, rest) = record.split_at(text_at);
        let mut fields = std::str::from_utf8(head)
            .ok()?
            .trim_end_matches(';')
            .split(',');
        let text = rest.split(|&byte| byte == b'\n').next()?;
        Some(Self {
            prefix: fields.next()?.parse().ok()?,
            sequence: fields.next()?.parse().ok()?,
            time_us: fields.next()?.parse().ok()?,
            text: unescape(text),
        })
    }

    /// Returns the line as a message for KMON; `lost` lines before it are missing.
    pub(crate) fn message(&self, lost: u64) -> KernelLine<'_> {
        KernelLine {
            sequence: self.sequence,
            time_us: self.time_us,
            lost: u32::try_from(lost).unwrap_or(u32::MAX),
            priority: (self.prefix & 7) as u8,
            facility: u8::try_from(self.prefix >> 3).unwrap_or(u8::MAX),
            text: &self.text,
        }
    }
}

/// Returns `text` with the escapes `\xNN` of the kernel decoded.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = (byte == b'\\').then(|| escaped(after)).flatten();
        plain.push(escaped.unwrap_or(byte));
        rest = if escaped.is_some() {
            &after[3..]
        } else {
            after
        };
    }
    plain
}

/// Returns the byte that `xNN` at the start of `text` represents.
fn escaped(text: &[u8]) -> Option<u8> {
    let digits = text.strip_prefix(b"x")?.get(..2)?;
    let digit = |digit: u8| char::from(digit).to_digit(16);
    Some((digit(digits[0])? << 4 | digit(digits[1])?) as u8)
}

/// Returns the identifier of this boot; `None` if the kernel does not provide it.
pub(crate) fn boot() -> Option<[u8; 16]> {
    parse_boot(&fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?)
}

fn parse_boot(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.trim().split('-').collect();
    (digits.len() == 32).then_some(())?;
    let number = u128::from_str_radix(&digits, 16).ok()?;
    Some(number.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_in_the_place_of_the_log_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let opened = Kmsg::open_at(file.path().to_str().unwrap());
        let why = opened.err().unwrap().to_string();
        assert!(why.ends_with(" is not a device"), "{why}");
    }

    #[test]
    fn a_record_is_parsed_without_its_properties() {
        let record = b"30,1234,5678901,-,caller=T1;usb\\x20 1-1: a\\x0ab \\xff\\\n SUBSYSTEM=usb\n";
        let line = Line::parse(record).unwrap();
        let message = line.message(1 << 40);
        let expected = KernelLine {
            sequence: 1234,
            time_us: 5_678_901,
            lost: u32::MAX,
            priority: 6,
            facility: 3,
            text: b"usb  1-1: a\nb \xff\\",
        };
        assert_eq!(message, expected);
        assert_eq!(Line::parse(b"6,0,0,-;\n").unwrap().message(0).text, b"");
    }

    #[test]
    fn an_invalid_record_is_skipped() {
        for record in [
            &b""[..],
            b"6,1,2,-",
            b"6,1;x",
            b"x,1,2,-;y",
            b"6,-1,2,-;y",
            b"\xff;y",
        ] {
            assert_eq!(Line::parse(record), None, "{record:?}");
        }
    }

    #[test]
    fn an_invalid_escape_is_left_unchanged() {
        for text in [&b"\\"[..], b"\\x", b"\\x4", b"\\xg0", b"\\y41"] {
            assert_eq!(unescape(text), text);
        }
        assert_eq!(unescape(b"\\x5cx41"), b"\\x41");
    }

    #[test]
    fn the_boot_identifier_is_parsed() {
        let text = "01020304-0506-0708-090a-0b0c0d0e0f10\n";
        let boot = parse_boot(text).unwrap();
        assert_eq!((boot[0], boot[15]), (1, 16));
        assert_eq!(parse_boot("01020304"), None);
        assert_eq!(parse_boot(&"+".repeat(32)), None);
    }
}
