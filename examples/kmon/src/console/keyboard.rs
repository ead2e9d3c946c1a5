//! What is typed at a console: keys for the instance, and keys that leave.

use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::filter::{Action, Filter};
use crate::terminal::{self, Terminal};

/// After this time without input, a paste is complete.
const AFTER_ENTER_MS: u16 = 100;
/// The longest time between two escape keys that belong together.
pub(super) const PAUSE: Duration = Duration::from_millis(400);

/// What to do after keys were typed.
#[derive(Debug, Default)]
pub(super) struct Typed {
    /// Keys for the instance.
    pub(super) keys: Vec<u8>,
    /// What the operator's terminal shows.
    pub(super) echo: Vec<u8>,
    pub(super) leaves: bool,
}

/// The keys of one console.
pub(super) struct Keyboard {
    filter: Filter,
    escape: u8,
}

impl Keyboard {
    pub(super) fn new(escape: u8) -> Self {
        Self {
            filter: Filter::new(escape),
            escape,
        }
    }

    /// Returns true if a short pause decides what a key means.
    pub(super) fn awaits_pause(&self) -> bool {
        self.filter.awaits_pause()
    }

    /// Notes that the instance has begun a new line.
    pub(super) fn note_new_line(&mut self) {
        self.filter.new_line();
    }

    /// Takes keys; also returns the bytes after those that leave.
    pub(super) fn take(&mut self, bytes: &[u8], alternate: bool) -> (Typed, Vec<u8>) {
        let (actions, used) = self.filter.type_bytes(bytes, alternate);
        (self.typed(actions), bytes[used..].to_vec())
    }

    /// Notes that nothing was typed for a while.
    pub(super) fn pause(&mut self) -> Typed {
        let actions = self.filter.pause();
        self.typed(actions)
    }

    /// Returns the keys that were held back.
    pub(super) fn finish(&mut self) -> Typed {
        let actions = self.filter.finish();
        self.typed(actions)
    }

    fn typed(&self, actions: Vec<Action>) -> Typed {
        let mut typed = Typed::default();
        for action in actions {
            match action {
                Action::Send(keys) => typed.keys.extend(keys),
                Action::Echo(bytes) => typed.echo.extend(bytes),
                Action::Help => typed.echo.extend(self.help().into_bytes()),
                Action::Leave => typed.leaves = true,
            }
        }
        typed
    }

    fn help(&self) -> String {
        let key = format!("^{}", char::from(self.escape ^ 0x40));
        format!(
            "\r\n[kmon: {key} leaves the console; {key}{key} sends one {key}; {key}? shows this;\r\n \
             a line with kmexitconsole leaves, too]\r\n"
        )
    }

    /// Discards input up to an Enter, and the input in one piece with it, so that input for the
    /// instance does not become a command of KMON.
    pub(super) fn await_enter(&self, terminal: &Terminal, text: &str) -> anyhow::Result<()> {
        terminal::write_stdout(text.as_bytes())?;
        let mut timeout = PollTimeout::NONE;
        loop {
            let mut ready = [PollFd::new(terminal.input().as_fd(), PollFlags::POLLIN)];
            match poll(&mut ready, timeout) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(_) => continue, // Interrupted.
            }
            let typed = terminal.input().read(4096)?;
            if typed.is_empty() {
                return Ok(()); // The terminal is gone.
            }
            // ^C, ^D and the escape key leave, too.
            let keys = [b'\r', b'\n', 0x03, 0x04, self.escape];
            let leaves = |byte: &u8| keys.contains(byte);
            if typed.iter().any(leaves) {
                timeout = PollTimeout::from(AFTER_ENTER_MS);
            }
        }
    }
}
