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
    group: Option<Pid>,
    /// A kill was requested before the group was known.
    kill: bool,
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

    /// Kills a command with its group. Does nothing if the command has ended.
    pub(crate) fn kill(&self, stream: u32) {
        if let Some(entry) = self.table().get_mut(&stream) {
            entry.kill();
        }
    }

    /// Kills all commands.
    pub(crate) fn kill_all(&self) {
        self.table().values_mut().for_each(Entry::kill);
    }

    /// Notes that the command runs as the leader of `group`.
    pub(super) fn set_group(&self, stream: u32, group: Pid) {
        if let Some(entry) = self.table().get_mut(&stream) {
            entry.group = Some(group);
            if entry.kill {
                entry.kill();
            }
        }
    }

    /// Notes that the command will be reaped (E2).
    pub(super) fn forget_group(&self, stream: u32) {
        if let Some(entry) = self.table().get_mut(&stream) {
            entry.group = None;
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
    fn kill(&mut self) {
        self.kill = true;
        if let Some(group) = self.group {
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}
