//! The commands that run now (E2).

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

/// What KMON asked to run.
pub(crate) struct Request {
    pub(crate) stream: u32,
    /// None is never.
    pub(crate) timeout: Option<Duration>,
    /// The program first.
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

/// The commands that run now.
pub(crate) struct Execs {
    pub(super) account: Account,
    pub(super) children: Arc<Children>,
    pub(super) outlet: Arc<Outlet>,
    table: Mutex<HashMap<u32, Entry>>,
}

#[derive(Default)]
pub(super) struct Entry {
    group: Option<Pid>,
    /// Asked for before there was a group.
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

    /// Kills a command with all that it started in its group; one that has ended already is none.
    pub(crate) fn kill(&self, stream: u32) {
        if let Some(entry) = self.table().get_mut(&stream) {
            entry.shoot();
        }
    }

    /// Kills all.
    pub(crate) fn kill_all(&self) {
        self.table().values_mut().for_each(Entry::shoot);
    }

    /// The command runs, as the leader of `group`.
    pub(super) fn began(&self, stream: u32, group: Pid) {
        if let Some(entry) = self.table().get_mut(&stream) {
            entry.group = Some(group);
            if entry.kill {
                entry.shoot();
            }
        }
    }

    /// The command is about to be buried (E2).
    pub(super) fn forget_group(&self, stream: u32) {
        if let Some(entry) = self.table().get_mut(&stream) {
            entry.group = None;
        }
    }

    pub(super) fn end(&self, stream: u32, ending: Ending) {
        // In this order: who has seen `Ended` may use the place and the number again.
        self.table().remove(&stream);
        self.outlet.post(Event::Ended { stream, ending });
    }

    pub(super) fn table(&self) -> MutexGuard<'_, HashMap<u32, Entry>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn shoot(&mut self) {
        self.kill = true;
        if let Some(group) = self.group {
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}
