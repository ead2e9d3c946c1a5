//! The copies in progress.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use kmon_protocol::Event;
use kmon_protocol::file::FileError;
use kmon_protocol::transfer::{Failure, Report, Request};

use super::mailbox::Mailbox;
use super::task::Task;
use crate::children::reason;
use crate::outlet::Outlet;

/// How many copies may run at the same time.
const LIMIT: usize = 16;

/// The copies in progress.
pub(crate) struct Transfers {
    /// Where relative paths begin.
    home: PathBuf,
    outlet: Arc<Outlet>,
    table: Mutex<HashMap<u32, Arc<Mailbox>>>,
}

impl Transfers {
    pub(crate) fn new(home: PathBuf, outlet: Arc<Outlet>) -> Self {
        Self {
            home,
            outlet,
            table: Mutex::default(),
        }
    }

    /// Takes what KMON has sent. Never waits (T1).
    pub(crate) fn take(self: &Arc<Self>, stream: u32, request: &Request<'_>) {
        let mut table = self.table();
        if let Some(mailbox) = table.get(&stream) {
            return mailbox.deliver(request);
        }
        if !request.begins() {
            return; // Sent before KMON knew that the copy has failed.
        }
        if table.len() >= LIMIT {
            drop(table);
            return self.report(stream, Err(busy()));
        }
        let mailbox = Arc::<Mailbox>::default();
        table.insert(stream, Arc::clone(&mailbox));
        drop(table);
        let task = Task::new(request, &self.home);
        let transfers = Arc::clone(self);
        let thread = thread::Builder::new().name(format!("copy-{stream}"));
        let started = thread.spawn(move || {
            let done = task.run(stream, &mailbox, &transfers.outlet);
            transfers.end(stream, &mailbox, done);
        });
        if let Err(error) = started {
            let failure = Failure::Other;
            let reason = format!("cannot start a thread: {}", reason(&error));
            self.table().remove(&stream);
            self.report(stream, Err(FileError { failure, reason }));
        }
    }

    /// Ends all copies, without reports: the KMON that requested them is gone (T3).
    pub(crate) fn cancel_all(&self) {
        self.table()
            .drain()
            .for_each(|(_, mailbox)| mailbox.cancel());
    }

    fn end(&self, stream: u32, mailbox: &Arc<Mailbox>, done: Result<(), FileError>) {
        let mut table = self.table();
        if !table
            .get(&stream)
            .is_some_and(|found| Arc::ptr_eq(found, mailbox))
        {
            return;
        }
        // In this order: after the report, KMON may use the number again.
        table.remove(&stream);
        drop(table);
        self.report(stream, done);
    }

    fn report(&self, stream: u32, done: Result<(), FileError>) {
        let report = match done {
            Ok(()) => Report::Done,
            Err(FileError { failure, reason }) => Report::Failed { failure, reason },
        };
        self.outlet.post(Event::Transfer { stream, report });
    }

    fn table(&self) -> MutexGuard<'_, HashMap<u32, Arc<Mailbox>>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn busy() -> FileError {
    FileError {
        failure: Failure::Busy,
        reason: format!("{LIMIT} copies are already running: wait until one ends"),
    }
}
