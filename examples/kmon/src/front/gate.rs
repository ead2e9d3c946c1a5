//! Passes typed input to the line editor, one line at a time.
//!
//! An editor reads all available input. But input after `kmconsole 2` and Enter is for instance 2,
//! so it must stay where the console reads it. The editor therefore reads from a pseudo-terminal of
//! its own, on descriptor 0, and input passes to it only while it edits.
//!
//! - **G1** After the byte that ends a line nothing passes as long as the editor may have finished
//!   with the line. What does not pass stays in the terminal.
//! - **G2** Text pasted in one piece (bracketed) passes whole.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use anyhow::Context;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::openpty;
use nix::sys::termios::{SetArg, cfmakeraw, tcsetattr};
use nix::unistd::{dup2_stdin, write};

use crate::terminal::{Input, Terminal};

/// How long the editor may take to finish with a line. It continues to read after an Enter only
/// when it has asked a question (about a long list).
const DECISION_MS: u16 = 200;

const PASTE_STARTS: &[u8] = b"\x1b[200~";
const PASTE_ENDS: &[u8] = b"\x1b[201~";

/// The end of the pseudo-terminal to which typed bytes are written.
#[derive(Debug)]
pub(crate) struct Gate {
    to_editor: OwnedFd,
}

impl Gate {
    /// Puts the editor's end on descriptor 0.
    pub(crate) fn open(terminal: &Terminal) -> anyhow::Result<Self> {
        let pair = openpty(None, terminal.settings()).context("pseudo-terminal")?;
        let mut raw = terminal.settings().clone();
        cfmakeraw(&mut raw);
        tcsetattr(&pair.slave, SetArg::TCSANOW, &raw).context("pseudo-terminal")?;
        fcntl(&pair.master, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).context("pseudo-terminal")?;
        dup2_stdin(pair.slave).context("pseudo-terminal")?;
        Ok(Self {
            to_editor: pair.master,
        })
    }

    /// Passes typed bytes while `edit` runs.
    pub(crate) fn open_while<T>(
        &self,
        terminal: &mut Terminal,
        edit: impl FnOnce() -> T,
    ) -> anyhow::Result<T> {
        let (stop, stopped) = UnixStream::pair().context("pipe")?;
        let pending = terminal.take_pending();
        let raw = terminal.raw(false)?;
        let input = terminal.input();
        let (edited, left) = std::thread::scope(|scope| {
            let passing = scope.spawn(|| self.pass(input, &pending, &stopped));
            let edited = edit();
            drop(stop);
            (edited, passing.join())
        });
        drop(raw);
        // After a panic in `pass`, all pending bytes count as used; the panic hook has reported it.
        let used = left.unwrap_or(pending.len());
        terminal.leave_pending(&pending[used..]);
        Ok(edited)
    }

    /// Passes `pending`, then typed bytes. Returns how much of `pending` was used.
    fn pass(&self, input: &Input, pending: &[u8], stopped: &UnixStream) -> usize {
        let mut paste = Paste::default();
        let mut used = 0;
        loop {
            let byte = match pending.get(used) {
                Some(&byte) => {
                    used += 1;
                    byte
                }
                None => match next_byte(input, stopped) {
                    Some(byte) => byte,
                    None => return used,
                },
            };
            if write(&self.to_editor, &[byte]).is_err() {
                return used;
            }
            paste.follow(byte);
            let ends_line = matches!(byte, b'\r' | b'\n' | 0x03 | 0x04);
            if ends_line && !paste.inside && is_stopped(stopped, PollTimeout::from(DECISION_MS)) {
                return used;
            }
        }
    }
}

/// Returns the next typed byte; `None` if the editor has finished. Returns `^D` if the terminal is
/// gone, which ends its line.
fn next_byte(input: &Input, stopped: &UnixStream) -> Option<u8> {
    loop {
        let mut ready = [
            PollFd::new(stopped.as_fd(), PollFlags::POLLIN),
            PollFd::new(input.as_fd(), PollFlags::POLLIN),
        ];
        // An interrupted wait is like one that ended early.
        let _ = poll(&mut ready, PollTimeout::NONE);
        if ready[0].any() == Some(true) {
            return None;
        }
        if ready[1].any() != Some(true) {
            continue;
        }
        return match input.read(1) {
            Ok(bytes) => Some(bytes.first().copied().unwrap_or(0x04)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => Some(0x04),
        };
    }
}

fn is_stopped(stopped: &UnixStream, timeout: PollTimeout) -> bool {
    let mut ready = [PollFd::new(stopped.as_fd(), PollFlags::POLLIN)];
    poll(&mut ready, timeout).is_ok_and(|count| count > 0)
}

/// Tracks whether passing bytes are inside a bracketed paste.
#[derive(Debug, Default)]
struct Paste {
    inside: bool,
    matched: usize,
}

impl Paste {
    fn follow(&mut self, byte: u8) {
        let mark = if self.inside {
            PASTE_ENDS
        } else {
            PASTE_STARTS
        };
        self.matched = if mark.get(self.matched) == Some(&byte) {
            self.matched + 1
        } else {
            usize::from(byte == mark[0])
        };
        if self.matched == mark.len() {
            self.inside = !self.inside;
            self.matched = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paste_is_recognized_by_its_brackets() {
        let mut paste = Paste::default();
        let inside: Vec<bool> = b"a\x1b[\x1b[200~b\x1b[200~\x1b[201~c"
            .iter()
            .map(|&byte| {
                paste.follow(byte);
                paste.inside
            })
            .collect();
        let first = inside.iter().position(|&inside| inside);
        let last = inside.iter().rposition(|&inside| inside);
        assert_eq!((first, last), (Some(8), Some(20)));
        assert_eq!(inside.last(), Some(&false));
    }
}
