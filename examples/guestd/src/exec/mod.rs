//! Runs commands separately from the console.
//!
//! - **E1** Each command has its own thread, which starts it, ends it and reports the result. The
//!   command loop only adds it to the table.
//! - **E2** A group's number is in the table only until its leader is reaped. So a kill never
//!   reaches another process that gets the number later.
//! - **E3** `Ended` is a stream's last event.
//! - **E4** A command ends with the daemon, however the daemon ends: KMON reports the command as
//!   killed.

mod image;
mod pipes;
mod run;
mod table;

use std::sync::Arc;
use std::thread;

use kmon_protocol::{Ending, Event};

use crate::children::reason;
use table::Entry;
pub(crate) use table::{Execs, Request};

/// How many commands may run at the same time.
const LIMIT: usize = 32;

impl Execs {
    /// Starts a command without waiting. Events report its result.
    pub(crate) fn start(self: &Arc<Self>, request: Request) {
        let stream = request.stream;
        let mut table = self.table();
        if table.contains_key(&stream) {
            // An `Ended` for this command would also end the other one (E3).
            return crate::log(format_args!(
                "KMON requested stream {stream}, which is in use: the command was not started"
            ));
        }
        if table.len() >= LIMIT {
            drop(table);
            let full =
                format!("{LIMIT} commands are already running: wait until one ends, or kill one");
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
}
