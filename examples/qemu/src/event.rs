//! What a machine is at, and what happens to it.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// What a machine is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// QEMU has not said anything yet.
    Starting,
    Running,
    /// Its processors stand still.
    Paused,
    /// The guest's kernel gave up, and stands still as it was then.
    Panicked,
    /// It was switched off, and QEMU is about to end.
    Shutdown(Off),
    /// QEMU has ended.
    Ended(End),
}

impl fmt::Display for Status {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting => out.write_str("starting"),
            Self::Running => out.write_str("running"),
            Self::Paused => out.write_str("paused"),
            Self::Panicked => out.write_str("panicked"),
            Self::Shutdown(off) => off.fmt(out),
            Self::Ended(end) => end.fmt(out),
        }
    }
}

/// Why a machine was switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Off {
    /// Its guest has done it.
    Guest,
    /// Its guest has reset it, when it was not [allowed to](crate::Machine::allow_reboot).
    GuestReset,
    /// From here.
    Host,
}

impl fmt::Display for Off {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Guest => "switched off by its guest",
            Self::GuestReset => "reset by its guest during the boot",
            Self::Host => "switched off",
        })
    }
}

/// How QEMU ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its machine was switched off.
    Off(Off),
    /// By itself.
    Code(i32),
    /// By a signal.
    Signal(i32),
    /// It was another process's child, which alone can tell.
    Unknown,
}

impl From<Option<ExitStatus>> for End {
    fn from(status: Option<ExitStatus>) -> Self {
        let code = |status: ExitStatus| status.code().map(Self::Code);
        let signal = |status: ExitStatus| status.signal().map(Self::Signal);
        status
            .and_then(|status| code(status).or(signal(status)))
            .unwrap_or(Self::Unknown)
    }
}

impl fmt::Display for End {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off(off) => off.fmt(out),
            Self::Code(code) => write!(out, "QEMU ended with status {code}"),
            Self::Signal(signal) => match nix::sys::signal::Signal::try_from(*signal) {
                Ok(signal) => write!(out, "QEMU was ended by {}", signal.as_str()),
                Err(_) => write!(out, "QEMU was ended by signal {signal}"),
            },
            Self::Unknown => out.write_str("QEMU has ended"),
        }
    }
}

/// What happened to a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Stopped,
    Resumed,
    Reset {
        by_guest: bool,
    },
    Panicked,
    /// Its power button was pressed, from here.
    PowerDown,
    Shutdown(Off),
    /// The connection to QEMU broke, while that goes on; it is made again.
    Lost,
}
