//! Commands that run apart from the console.
//!
//! - **E1** Each has a thread of its own that starts it, ends it and reports it:
//!   the command loop only enters it here.
//! - **E2** A group's number is in the table only while its leader is not buried,
//!   so a kill never meets a stranger that got the number later.
//! - **E3** `Ended` is a stream's last event.
//! - **E4** A command ends with the daemon, however that one ends: KMON has said
//!   that it is lost.

mod pipes;
mod run;

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use kmon_protocol::{Ending, Event};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::account::Account;
use crate::children::{Children, reason};
use crate::outlet::Outlet;

/// Commands that may run at once.
const LIMIT: usize = 32;

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
    account: Account,
    children: Arc<Children>,
    outlet: Arc<Outlet>,
    table: Mutex<HashMap<u32, Entry>>,
}

#[derive(Default)]
struct Entry {
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

    /// Starts a command. Never waits; how it went comes as events.
    pub(crate) fn start(self: &Arc<Self>, request: Request) {
        let stream = request.stream;
        let mut table = self.table();
        if table.contains_key(&stream) {
            // An `Ended` of ours would be taken for that of the other (E3).
            return crate::log(format_args!(
                "KMON asked for stream {stream} while it is in use: not started"
            ));
        }
        if table.len() >= LIMIT {
            drop(table);
            let full = format!("{LIMIT} commands run already: wait for one to end, or kill it");
            return self.outlet.post(Event::Ended {
                stream,
                ending: Ending::NotStarted(full),
            });
        }
        table.insert(stream, Entry::default());
        drop(table);
        let execs = Arc::clone(self);
        let thread = thread::Builder::new().name(format!("exec-{stream}"));
        if let Err(error) = thread.spawn(move || execs.end(stream, run::run(&execs, &request))) {
            self.end(
                stream,
                Ending::NotStarted(format!("cannot start a thread: {}", reason(&error))),
            );
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
    fn began(&self, stream: u32, group: Pid) {
        if let Some(entry) = self.table().get_mut(&stream) {
            entry.group = Some(group);
            if entry.kill {
                entry.shoot();
            }
        }
    }

    /// The command is about to be buried (E2).
    fn forget_group(&self, stream: u32) {
        if let Some(entry) = self.table().get_mut(&stream) {
            entry.group = None;
        }
    }

    fn end(&self, stream: u32, ending: Ending) {
        // In this order: who has seen `Ended` may use the place and the number again.
        self.table().remove(&stream);
        self.outlet.post(Event::Ended { stream, ending });
    }

    fn table(&self) -> MutexGuard<'_, HashMap<u32, Entry>> {
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
