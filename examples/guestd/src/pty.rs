//! One pseudo-terminal.
//!
//! The daemon keeps the slave side open too, to find out how much input its programs have not read.
//! So the master never reports end of file, and nothing here relies on it: a background job could
//! delay it, too.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::unistd::Pid;
use rustix::io::{ioctl_fionbio, ioctl_fionread};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{
    InputModes, OptionalActions, Winsize, tcgetattr, tcgetpgrp, tcsetattr, tcsetwinsize,
};

use crate::children::is_readable;

/// Rows and columns of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) rows: u16,
    pub(crate) columns: u16,
}

impl Default for Size {
    fn default() -> Self {
        Self {
            rows: 24,
            columns: 80,
        }
    }
}

/// Both sides of a pseudo-terminal. New programs inherit neither.
#[derive(Debug)]
pub(crate) struct Pty {
    master: OwnedFd,
    terminal: OwnedFd,
}

impl Pty {
    /// Creates a terminal of this size.
    pub(crate) fn open(size: Size) -> io::Result<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags)?;
        unlockpt(&master)?;
        // By descriptor, not by name: /dev/pts may belong to another namespace.
        let terminal = ioctl_tiocgptpeer(&master, flags)?;
        ioctl_fionbio(&master, true)?;
        let mut modes = tcgetattr(&terminal)?;
        modes.input_modes |= InputModes::IUTF8; // Erases whole characters.
        tcsetattr(&terminal, OptionalActions::Now, &modes)?;
        let pty = Self { master, terminal };
        pty.resize(size)?;
        Ok(pty)
    }

    /// Sets the size; the kernel sends SIGWINCH to the foreground if it changed.
    pub(crate) fn resize(&self, size: Size) -> io::Result<()> {
        let size = Winsize {
            ws_row: size.rows,
            ws_col: size.columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        Ok(tcsetwinsize(&self.master, size)?)
    }

    /// Returns the slave side, for a program's standard input, output and error.
    pub(crate) fn terminal(&self) -> io::Result<OwnedFd> {
        self.terminal.try_clone()
    }

    /// Returns the master, for polling.
    pub(crate) fn master(&self) -> BorrowedFd<'_> {
        self.master.as_fd()
    }

    /// Reads what programs printed. Never waits.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(&self.master, buffer)?)
    }

    /// Writes as many of `bytes` as the terminal accepts. Never waits.
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(&self.master, bytes)?)
    }

    /// Returns the process group in the foreground, which receives `^C`.
    pub(crate) fn foreground(&self) -> Option<Pid> {
        let group = tcgetpgrp(&self.master).ok()?;
        Some(Pid::from_raw(group.as_raw_nonzero().get()))
    }

    /// Returns true if there is input that no program has read.
    pub(crate) fn has_unread_input(&self) -> bool {
        // The count does not include bytes that a worker thread of the kernel has not moved yet. A
        // poll that finds nothing waits for the worker.
        is_readable(self.terminal.as_fd(), Some(Duration::ZERO));
        ioctl_fionread(&self.terminal).is_ok_and(|bytes| bytes > 0)
    }

    /// Returns true if there is output to read.
    pub(crate) fn has_output(&self) -> bool {
        is_readable(self.master(), Some(Duration::ZERO))
    }
}
