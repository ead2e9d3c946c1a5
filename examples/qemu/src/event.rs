//! The states and events of a machine.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// The state of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// QEMU has not reported a state yet.
    Starting,
    Running,
    /// Its processors are stopped.
    Paused,
    /// The guest's kernel has panicked, and keeps its state.
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

/// The reason why a machine was switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Off {
    /// Its guest switched it off.
    Guest,
    /// Its guest reset it, when it was not [allowed to](crate::Machine::allow_reboot).
    GuestReset,
    /// The host switched it off.
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
    /// QEMU was the child of another process, which alone can know.
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

/// An event of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Stopped,
    Resumed,
    Reset {
        by_guest: bool,
    },
    Panicked,
    /// The host pressed its power button.
    PowerDown,
    Shutdown(Off),
    /// The connection to QEMU broke while QEMU runs. It is made again.
    Lost,
}
