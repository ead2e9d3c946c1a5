//! The table of running commands (E2).

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kmon_protocol::{Ending, Event};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::account::Account;
use crate::children::Children;
use crate::outlet::Outlet;
use crate::waker::Waker;

/// A command that KMON requests.
pub(crate) struct Request {
    pub(crate) stream: u32,
    /// `None` is no time-out.
    pub(crate) timeout: Option<Duration>,
    /// The program and its arguments.
    pub(crate) arguments: Vec<OsString>,
}

impl Request {
    pub(crate) fn new(stream: u32, timeout_ms: u32, arguments: &[&[u8]]) -> Self {
        Self {
            stream,
            timeout: (timeout_ms > 0).then(|| Duration::from_millis(timeout_ms.into())),
            arguments: arguments
                .iter()
                .map(|bytes| OsString::from_vec(bytes.to_vec()))
                .collect(),
        }
    }
}

/// The running commands.
pub(crate) struct Execs {
    pub(super) account: Account,
    pub(super) children: Arc<Children>,
    pub(super) outlet: Arc<Outlet>,
    table: Mutex<HashMap<u32, Entry>>,
}

#[derive(Default)]
pub(super) struct Entry {
    running: Option<Running>,
    stop: Option<Stop>,
}

/// A command whose process exists and is not reaped yet.
struct Running {
    group: Pid,
    /// Wakes the command's thread, which waits for its end.
    stopped: Arc<Waker>,
}

/// How a command is stopped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// SIGTERM; its thread sends SIGKILL after a grace period.
    Ask,
    /// SIGKILL.
    Kill,
}

impl Execs {
    pub(crate) fn new(account: Account, children: Arc<Children>, outlet: Arc<Outlet>) -> Self {
        Self {
            account,
            children,
            outlet,
            table: Mutex::default(),
        }
    }

    /// Asks a command and its group to end, with a grace period; the second time, kills them. Does
    /// nothing if the command has ended.
    pub(crate) fn stop(&self, stream: u32) {
        if let Some(entry) = self.table().get_mut(&stream) {
            let stop = match entry.stop {
                None => Stop::Ask,
                Some(_) => Stop::Kill,
            };
            entry.stop(stop);
        }
    }

    /// Kills a command with its group. Does nothing if the command has ended.
    pub(super) fn kill(&self, stream: u32) {
        if let Some(entry) = self.table().get_mut(&stream) {
            entry.stop(Stop::Kill);
        }
    }

    /// Kills all commands.
    pub(crate) fn kill_all(&self) {
        let mut table = self.table();
        table.values_mut().for_each(|entry| entry.stop(Stop::Kill));
    }

    /// Notes that the command runs as the leader of `group`, and that `stopped` wakes its thread.
    pub(super) fn set_group(&self, stream: u32, group: Pid, stopped: Arc<Waker>) {
        if let Some(entry) = self.table().get_mut(&stream) {
            entry.running = Some(Running { group, stopped });
            if let Some(stop) = entry.stop {
                entry.stop(stop);
            }
        }
    }

    /// Notes that the command will be reaped (E2).
    pub(super) fn forget_group(&self, stream: u32) {
        if let Some(entry) = self.table().get_mut(&stream) {
            entry.running = None;
        }
    }

    pub(super) fn end(&self, stream: u32, ending: Ending) {
        // In this order: after `Ended`, KMON may use the number again.
        self.table().remove(&stream);
        self.outlet.post(Event::Ended { stream, ending });
    }

    pub(super) fn table(&self) -> MutexGuard<'_, HashMap<u32, Entry>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn stop(&mut self, stop: Stop) {
        self.stop = Some(stop);
        if let Some(running) = &self.running {
            let signal = match stop {
                Stop::Ask => Signal::SIGTERM,
                Stop::Kill => Signal::SIGKILL,
            };
            let _ = killpg(running.group, signal);
            running.stopped.wake();
        }
    }
}
