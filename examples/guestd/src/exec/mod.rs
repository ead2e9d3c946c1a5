//! Commands that run apart from the console.
//!
//! - **E1** Each has a thread of its own that starts it, ends it and reports it:
//!   the command loop only enters it here.
//! - **E2** A group's number is in the table only while its leader is not buried,
//!   so a kill never meets a stranger that got the number later.
//! - **E3** `Ended` is a stream's last event.
//! - **E4** A command ends with the daemon, however that one ends: KMON has said
//!   that it is lost.

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

/// Commands that may run at once.
const LIMIT: usize = 32;

impl Execs {
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
}
