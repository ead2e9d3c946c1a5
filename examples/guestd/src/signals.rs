//! Being asked to stop by a signal.
//!
//! The signals are blocked and read from a descriptor, so that no code runs in
//! a signal handler. A new program would inherit that; `Account::prepare` gives
//! it all signals back.

use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::children::is_readable;

/// Gives every signal that a parent may have left ignored its default action again.
///
/// A shell starts its background jobs with SIGINT ignored; what we run would
/// inherit that, and `^C` would reach nothing. With SIGCHLD ignored no exit
/// status could be had.
pub(crate) fn reset() -> nix::Result<()> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    for signal in [
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGHUP,
        Signal::SIGTERM,
        Signal::SIGTSTP,
        Signal::SIGTTIN,
        Signal::SIGTTOU,
        Signal::SIGCHLD,
    ] {
        // SAFETY: the default action runs no code of ours.
        unsafe { sigaction(signal, &default) }?;
    }
    Ok(())
}

/// The signals that end the daemon in good order.
pub(crate) struct StopSignals(SignalFd);

impl StopSignals {
    /// Takes the signals over, for this thread and all that it starts later.
    pub(crate) fn take() -> nix::Result<Self> {
        let mut set = SigSet::empty();
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
            set.add(signal);
        }
        set.thread_block()?;
        SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).map(Self)
    }

    /// Whether one has come. Never waits.
    pub(crate) fn asked(&self) -> bool {
        matches!(self.0.read_signal(), Ok(Some(_)))
    }

    /// The same, waiting for one up to `timeout`.
    pub(crate) fn asked_within(&self, timeout: Duration) -> bool {
        is_readable(self.0.as_fd(), Some(timeout)) && self.asked()
    }
}
