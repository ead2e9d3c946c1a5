//! Receives the signals that stop the daemon.
//!
//! The signals are blocked and read from a descriptor, so that no code runs in a signal handler.
//! `Account::prepare` unblocks all signals for a new program.

use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::children::is_readable;

/// Restores the default action of every signal that a parent may ignore.
///
/// A shell starts its background jobs with SIGINT ignored. The daemon's programs would inherit
/// that, and `^C` would have no effect. With SIGCHLD ignored, exit statuses are unavailable.
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
        // SAFETY: the default action runs no code of this program.
        unsafe { sigaction(signal, &default) }?;
    }
    Ok(())
}

/// The signals that end the daemon without a failure.
pub(crate) struct StopSignals(SignalFd);

impl StopSignals {
    /// Blocks the signals for this thread and all threads that it starts later.
    pub(crate) fn block() -> nix::Result<Self> {
        let mut set = SigSet::empty();
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
            set.add(signal);
        }
        set.thread_block()?;
        SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).map(Self)
    }

    /// Returns true if a signal has arrived. Never waits.
    pub(crate) fn asked(&self) -> bool {
        matches!(self.0.read_signal(), Ok(Some(_)))
    }

    /// Waits up to `timeout` for a signal. Returns true if one has arrived.
    pub(crate) fn asked_within(&self, timeout: Duration) -> bool {
        is_readable(self.0.as_fd(), Some(timeout)) && self.asked()
    }
}
