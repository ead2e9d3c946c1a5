//! The operator's terminal: its input, its modes, its size.
//!
//! - **T1** However KMON ends (return, panic, signal), the terminal has its original settings, and
//!   no mode that a program has left set.
//! - **T2** Input that was read but not used is delivered first to the next reader.

use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::Context;
use nix::libc;
use nix::sys::termios::{
    SetArg, SpecialCharacterIndices, Termios, cfmakeraw, tcgetattr, tcsetattr,
};
use nix::unistd::read;

/// The original state of the terminal, for all code that ends the program.
static FOUND: Mutex<Option<Found>> = Mutex::new(None);

struct Found {
    input: OwnedFd,
    settings: Termios,
    /// Resets the modes that the console's programs have set.
    undo: Vec<u8>,
    /// The current settings, if they are raw.
    raw: Option<Termios>,
}

/// Restores the terminal to its original state (T1). May be called at any time.
pub(crate) fn restore() {
    let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = found.as_mut() {
        // At the end of the program a failure cannot be reported.
        let _ = tcsetattr(&found.input, SetArg::TCSANOW, &found.settings);
        let undo = std::mem::take(&mut found.undo);
        if !undo.is_empty() {
            let _ = nix::unistd::write(io::stdout(), &undo);
        }
    }
}

fn set_current(raw: Option<Termios>) {
    let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = found.as_mut() {
        found.raw = raw;
    }
}

/// Applies KMON's settings again after KMON was stopped: a shell may have changed them meanwhile.
pub(crate) fn reapply() {
    let found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(Found {
        input,
        raw: Some(raw),
        ..
    }) = found.as_ref()
    {
        // A terminal that is gone needs no settings.
        let _ = tcsetattr(input, SetArg::TCSANOW, raw);
    }
}

/// Resets the mode that the line editor sets: bracketed paste.
pub(crate) const EDITOR_UNDO: &[u8] = b"\x1b[?2004l";

/// Stores the output that resets the modes that are set now.
pub(crate) fn remember_undo(undo: Vec<u8>) {
    let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = found.as_mut() {
        found.undo = undo;
    }
}

/// Typed input.
#[derive(Debug)]
pub(crate) struct Input {
    descriptor: OwnedFd,
    /// The end of the input was reached.
    gone: AtomicBool,
}

impl Input {
    /// Reads typed bytes; none if the terminal is gone.
    pub(crate) fn read(&self, max: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; max];
        let len = match read(&self.descriptor, &mut bytes) {
            Ok(len) => len,
            // The other end of a pseudo-terminal is closed.
            Err(nix::errno::Errno::EIO) => 0,
            Err(error) => return Err(error.into()),
        };
        bytes.truncate(len);
        self.gone.fetch_or(len == 0, Ordering::Relaxed);
        Ok(bytes)
    }
}

impl AsFd for Input {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// The terminal on standard input.
#[derive(Debug)]
pub(crate) struct Terminal {
    input: Input,
    settings: Termios,
    /// Bytes that were read but left for the next reader (T2).
    pending: Vec<u8>,
}

/// While this exists, keys arrive as they are pressed, including `^C`.
#[derive(Debug)]
pub(crate) struct Raw<'t> {
    terminal: &'t Terminal,
}

impl Terminal {
    /// Returns the terminal on standard input and output; `None` if there is none.
    pub(crate) fn on_stdio() -> anyhow::Result<Option<Self>> {
        if !io::stdin().is_terminal() {
            return Ok(None);
        }
        let copy = || io::stdin().as_fd().try_clone_to_owned();
        let input = copy().context("standard input")?;
        let settings = tcgetattr(&input).context("terminal settings")?;
        let found = Found {
            input: copy().context("standard input")?,
            settings: settings.clone(),
            undo: Vec::new(),
            raw: None,
        };
        *FOUND.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
        let mut own = settings;
        // Otherwise `^\` would end KMON in the middle of a command.
        own.control_chars[SpecialCharacterIndices::VQUIT as usize] = libc::_POSIX_VDISABLE;
        tcsetattr(&input, SetArg::TCSADRAIN, &own).context("terminal settings")?;
        let input = Input {
            descriptor: input,
            gone: AtomicBool::new(false),
        };
        Ok(Some(Self {
            input,
            settings: own,
            pending: Vec::new(),
        }))
    }

    pub(crate) fn input(&self) -> &Input {
        &self.input
    }

    /// Returns true if no more input will arrive.
    pub(crate) fn is_gone(&self) -> bool {
        self.input.gone.load(Ordering::Relaxed) || tcgetattr(&self.input).is_err()
    }

    /// Returns the settings that KMON uses while it does not read keys.
    pub(crate) fn settings(&self) -> &Termios {
        &self.settings
    }

    /// Makes the terminal's input raw until the guard is dropped, and its output if `output_too`.
    pub(crate) fn raw(&self, output_too: bool) -> anyhow::Result<Raw<'_>> {
        let mut raw = self.settings.clone();
        cfmakeraw(&mut raw);
        if !output_too {
            raw.output_flags = self.settings.output_flags;
        }
        tcsetattr(&self.input, SetArg::TCSADRAIN, &raw).context("raw terminal")?;
        set_current(Some(raw));
        Ok(Raw { terminal: self })
    }

    /// Takes the bytes that were left for the next reader.
    pub(crate) fn take_pending(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.pending)
    }

    /// Leaves `bytes` for the next reader.
    pub(crate) fn leave_pending(&mut self, bytes: &[u8]) {
        self.pending.splice(..0, bytes.iter().copied());
    }
}

impl Drop for Raw<'_> {
    fn drop(&mut self) {
        set_current(None);
        // A terminal that is gone needs no settings.
        let _ = tcsetattr(
            &self.terminal.input,
            SetArg::TCSADRAIN,
            &self.terminal.settings,
        );
    }
}

nix::ioctl_read_bad!(window_size, libc::TIOCGWINSZ, libc::winsize);

/// Returns rows and columns of the terminal on standard output; `None` if unknown.
pub(crate) fn size() -> Option<(u16, u16)> {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: `size` is a whole `winsize`, which the call fills.
    unsafe { window_size(libc::STDOUT_FILENO, &raw mut size) }.ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_row, size.ws_col))
}

/// Writes `bytes` to standard output without buffering.
pub(crate) fn write_stdout(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()
}
