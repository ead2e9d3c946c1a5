//! Starts and reaps processes, including orphans.
//!
//! - **C1** Every process we start is waited for by the thread that started it, once.
//! - **C2** As process 1 of a PID namespace the daemon also inherits other
//!   programs' orphans; it waits for those, and never for one of C1.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::wait::{Id, WaitPidFlag, waitid, waitpid};
use nix::unistd::{Pid, getpid};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{PidfdFlags, pidfd_open};

use crate::waker::Waker;

/// Orphans reaped at once, which bounds the command loop's work.
const MAX_ORPHANS: usize = 64;

/// The processes that the daemon started and has not waited for yet.
pub(crate) struct Children {
    own: Mutex<HashSet<u32>>,
    /// Orphans become children of this process.
    is_init: bool,
}

impl Default for Children {
    fn default() -> Self {
        Self {
            own: Mutex::default(),
            is_init: getpid() == Pid::from_raw(1),
        }
    }
}

impl Children {
    /// Starts `command`.
    ///
    /// # Errors
    /// The system's error. No process remains then.
    pub(crate) fn start(self: &Arc<Self>, command: &mut Command) -> io::Result<OwnChild> {
        // Held during the start: a child that ends immediately must be in the set before another
        // thread reaps orphans (C2).
        let mut own = self.lock();
        let mut child = command.spawn()?;
        let exit = match exit_descriptor(&child) {
            Ok(exit) => exit,
            Err(error) => {
                child.kill()?;
                child.wait()?;
                return Err(error);
            }
        };
        own.insert(child.id());
        drop(own);
        Ok(OwnChild {
            child,
            exit: Arc::new(exit),
            children: Arc::clone(self),
        })
    }

    /// As process 1, reaps orphans that have ended. Never waits for a running one.
    pub(crate) fn reap_orphans(&self) {
        if !self.is_init {
            return;
        }
        let Ok(own) = self.own.try_lock() else { return };
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        for _ in 0..MAX_ORPHANS {
            let Some(pid) = waitid(Id::All, flags).ok().and_then(|status| status.pid()) else {
                return;
            };
            if own.contains(&pid.as_raw().cast_unsigned()) {
                return; // The thread that started it will reap it.
            }
            let _ = waitpid(pid, Some(WaitPidFlag::WNOHANG));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<u32>> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn exit_descriptor(child: &Child) -> io::Result<OwnedFd> {
    let pid = rustix::process::Pid::from_child(child);
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

/// A process that we started.
pub(crate) struct OwnChild {
    child: Child,
    exit: Arc<OwnedFd>,
    children: Arc<Children>,
}

impl OwnChild {
    /// Returns its number, which is also that of its session and group.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Returns a descriptor that is readable once the process has ended.
    pub(crate) fn exit(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.exit)
    }

    /// Takes the ends of the pipes that `Stdio::piped` made.
    pub(crate) fn take_pipes(&mut self) -> (Option<ChildStdout>, Option<ChildStderr>) {
        (self.child.stdout.take(), self.child.stderr.take())
    }

    /// Waits until the process has ended, without reaping it, or until `stopped` is woken.
    pub(crate) fn wait(&self, stopped: &Waker, timeout: Option<Duration>) -> Waited {
        let descriptors = [self.exit.as_fd(), stopped.as_fd()];
        match first_readable(descriptors, timeout) {
            Some(0) => Waited::Ended,
            Some(_) => Waited::Stopped,
            None => Waited::TimedOut,
        }
    }

    /// Waits until the process has ended, without reaping it. Returns false at the time-out.
    pub(crate) fn ended_within(&self, timeout: Option<Duration>) -> bool {
        is_readable(self.exit.as_fd(), timeout)
    }

    /// Waits for the process and reaps it. After this its number may be reused.
    pub(crate) fn reap(mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait();
        self.children.lock().remove(&self.child.id());
        status
    }
}

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    Ended,
    Stopped,
    TimedOut,
}

/// Waits until `descriptor` is readable. Returns false at the time-out.
pub(crate) fn is_readable(descriptor: BorrowedFd<'_>, timeout: Option<Duration>) -> bool {
    first_readable([descriptor], timeout).is_some()
}

/// Waits until one of `descriptors` is readable. Returns the index of the first one that is, and
/// `None` at the time-out.
fn first_readable<const N: usize>(
    descriptors: [BorrowedFd<'_>; N],
    timeout: Option<Duration>,
) -> Option<usize> {
    let deadline = timeout.map(|timeout| std::time::Instant::now() + timeout);
    loop {
        let left =
            deadline.map(|deadline| deadline.saturating_duration_since(std::time::Instant::now()));
        let mut list = descriptors.map(|one| PollFd::from_borrowed_fd(one, PollFlags::IN));
        match poll(&mut list, left.map(timespec).as_ref()) {
            Err(rustix::io::Errno::INTR) => {}
            Ok(0) | Err(_) => return None,
            Ok(_) => return list.iter().position(|one| !one.revents().is_empty()),
        }
    }
}

/// Converts `duration` for the kernel.
pub(crate) fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}

/// Returns what a shell shows as `$?`: the exit code, or 128 + the signal.
pub(crate) fn shell_status(status: ExitStatus) -> i32 {
    status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .unwrap_or(-1)
}

/// Returns an error's text without the number that the standard library appends.
pub(crate) fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => nix::errno::Errno::from_raw(number).desc().to_owned(),
        None => error.to_string(),
    }
}
