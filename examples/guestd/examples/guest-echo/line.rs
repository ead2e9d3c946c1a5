//! Answers lines on a terminal.
//!
//! | line              | answer                                                            |
//! |-------------------|-------------------------------------------------------------------|
//! | `pid`             | the process number                                                |
//! | `flood LEN SIZE`  | `ready`; after the next line `LEN` bytes, `SIZE` with each write  |
//! | any other         | the same line                                                     |

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::OFlags;
use rustix::termios::{OptionalActions, SpecialCodeIndex, speed, tcgetattr, tcsetattr};

use crate::text;

/// Serves standard input and output.
pub(crate) fn serve_own() -> io::Result<()> {
    serve(rustix::stdio::stdin(), rustix::stdio::stdout())
}

/// Serves a serial line or a similar device.
pub(crate) fn serve_device(path: &str) -> io::Result<()> {
    let device = OpenOptions::new().read(true).write(true).open(path)?;
    rustix::fs::fcntl_setfl(&device, OFlags::empty())?;
    serve(device.as_fd(), device.as_fd())
}

fn serve(input: BorrowedFd<'_>, output: BorrowedFd<'_>) -> io::Result<()> {
    make_raw(input)?;
    let mut lines = Lines::new(input);
    write_all(output, b"serving\n")?;
    while let Some(line) = lines.next()? {
        let words: Vec<_> = line.trim().split(' ').collect();
        match words.as_slice() {
            ["pid"] => write_all(output, format!("{}\n", std::process::id()).as_bytes())?,
            ["flood", len, size] => {
                let (text, size) = (text::numbered_lines(number(len)?), number(size)?.max(1));
                write_all(output, b"ready\n")?;
                lines.next()?;
                for part in text.chunks(size) {
                    write_all(output, part)?;
                }
            }
            _ => write_all(output, line.as_bytes())?,
        }
    }
    Ok(())
}

/// Makes the terminal pass every byte unchanged and immediately, at the rate of common consoles.
fn make_raw(terminal: BorrowedFd<'_>) -> io::Result<()> {
    let mut modes = tcgetattr(terminal)?;
    modes.make_raw();
    modes.special_codes[SpecialCodeIndex::VMIN] = 1;
    modes.special_codes[SpecialCodeIndex::VTIME] = 0;
    modes.set_speed(speed::B115200)?;
    Ok(tcsetattr(terminal, OptionalActions::Now, &modes)?)
}

/// The lines of the input.
struct Lines<'f> {
    from: BorrowedFd<'f>,
    read: Vec<u8>,
}

impl<'f> Lines<'f> {
    fn new(from: BorrowedFd<'f>) -> Self {
        Self {
            from,
            read: Vec::new(),
        }
    }

    /// Returns the next line with its newline; `None` at the end of the input.
    fn next(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(at) = self.read.iter().position(|&byte| byte == b'\n') {
                let rest = self.read.split_off(at + 1);
                let line = std::mem::replace(&mut self.read, rest);
                return Ok(Some(String::from_utf8_lossy(&line).into_owned()));
            }
            let mut buffer = [0; 256];
            match rustix::io::read(self.from, &mut buffer)? {
                0 => return Ok(None),
                len => self.read.extend_from_slice(&buffer[..len]),
            }
        }
    }
}

fn write_all(output: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = rustix::io::write(output, bytes)?;
        bytes = &bytes[written..];
    }
    Ok(())
}

fn number(word: &str) -> io::Result<usize> {
    word.parse()
        .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}
