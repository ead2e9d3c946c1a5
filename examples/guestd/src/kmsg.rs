//! The kernel's log, a line at a time, as `/dev/kmsg` has it.
//!
//! Each read gives one record, `prefix,sequence,time,flags;text`, and lines of
//! properties behind that, which are left out. What the kernel overwrote before
//! it was read shows as a gap between two sequence numbers.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use kmon_protocol::KernelLine;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

/// Longer than any record: the kernel cuts them at 8 KiB.
const RECORD: usize = 16 << 10;
/// Reads that may bring no line before the reader says that there is none now.
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
        // Where nobody mounted devices, whoever wrote to it first has made a file of it, which
        // could always be read and never brings a line.
        let mode = rustix::fs::fstat(&log)?.st_mode;
        if FileType::from_raw_mode(mode) != FileType::CharacterDevice {
            return Err(io::Error::other(format!("{path} is no device")));
        }
        Ok(Self::over(log))
    }

    /// A log whose every read gives one record, and does not wait for it.
    pub(crate) fn over(log: OwnedFd) -> Self {
        Self {
            log,
            record: vec![0; RECORD],
        }
    }

    /// What becomes readable with the next line.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.log.as_fd()
    }

    /// The next line; nothing if there is none yet. Never waits.
    pub(crate) fn next(&mut self) -> io::Result<Option<Line>> {
        for _ in 0..ATTEMPTS {
            match rustix::io::read(&self.log, &mut self.record) {
                Ok(0) | Err(Errno::AGAIN) => return Ok(None),
                Ok(len) => {
                    if let Some(line) = Line::parse(&self.record[..len]) {
                        return Ok(Some(line));
                    }
                }
                // Overwritten meanwhile, or longer than the buffer: the next read gives the next.
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

    /// The line as KMON gets it, with the number of those that are missing in front of it.
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

/// `text` with the bytes that the kernel wrote as `\xNN`.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, behind)) = rest.split_first() {
        let escaped = (byte == b'\\').then(|| escaped(behind)).flatten();
        plain.push(escaped.unwrap_or(byte));
        rest = if escaped.is_some() {
            &behind[3..]
        } else {
            behind
        };
    }
    plain
}

/// The byte that `xNN` at the front of `text` stands for.
fn escaped(text: &[u8]) -> Option<u8> {
    let digits = text.strip_prefix(b"x")?.get(..2)?;
    let digit = |digit: u8| char::from(digit).to_digit(16);
    Some((digit(digits[0])? << 4 | digit(digits[1])?) as u8)
}

/// Which boot of the kernel this is; nothing if the kernel does not tell.
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
    fn a_file_in_the_place_of_the_log_is_none() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let opened = Kmsg::open_at(file.path().to_str().unwrap());
        let why = opened.err().unwrap().to_string();
        assert!(why.ends_with(" is no device"), "{why}");
    }

    #[test]
    fn a_record_is_its_fields_and_its_text_without_the_properties() {
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
    fn what_is_no_record_is_none() {
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
    fn an_escape_that_is_cut_or_wrong_stays_as_it_is() {
        for text in [&b"\\"[..], b"\\x", b"\\x4", b"\\xg0", b"\\y41"] {
            assert_eq!(unescape(text), text);
        }
        assert_eq!(unescape(b"\\x5cx41"), b"\\x41");
    }

    #[test]
    fn a_boot_is_known_by_its_number() {
        let text = "01020304-0506-0708-090a-0b0c0d0e0f10\n";
        let boot = parse_boot(text).unwrap();
        assert_eq!((boot[0], boot[15]), (1, 16));
        assert_eq!(parse_boot("01020304"), None);
        assert_eq!(parse_boot(&"+".repeat(32)), None);
    }
}
