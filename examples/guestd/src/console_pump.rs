//! The console's output, read by the command loop while it waits for commands.
//!
//! Who has typed a line waits for what is printed: the loop, awake behind the line, reads that
//! with no change of threads.
//!
//! - **N1** A terminal is lent by its shell's [`Session`]: that of the next shell is its own
//!   thread's until the loop finds it, which may sleep for long, and keeps the last one until then.
//! - **N2** What is read and has no room waits in the session, where the thread finds it when
//!   the shell ends or the console_pump does. Until it has left, the loop reads no more.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use kmon_protocol::link::IdleTask;
use rustix::event::{PollFd, PollFlags, poll};

use crate::children::timespec;
use crate::console::{Console, Session};

/// How soon what had no room is tried again.
const RETRY: Duration = Duration::from_millis(5);

/// The loop's share in the console, until it is dropped.
pub(crate) struct ConsolePump {
    console: Arc<Console>,
    /// The shell whose terminal the loop reads.
    session: Option<Arc<Session>>,
    /// The last sleep found nothing to read.
    is_quiet: bool,
}

impl ConsolePump {
    /// Borrows nothing yet.
    pub(crate) fn new(console: Arc<Console>) -> Self {
        Self {
            console,
            session: None,
            is_quiet: false,
        }
    }
}

impl IdleTask for ConsolePump {
    fn turn(&mut self) {
        self.session = self.console.borrow();
        if let Some(session) = &self.session
            && !std::mem::take(&mut self.is_quiet)
        {
            self.console.pass_lent(session);
        }
    }

    fn sleep(&mut self, bell: Option<BorrowedFd<'_>>, timeout: Duration) -> bool {
        let (terminal, timeout) = match &self.session {
            Some(session) if session.is_lendable() => (Some(session.pty.master()), timeout),
            Some(_) => (None, timeout.min(RETRY)),
            None => (None, timeout),
        };
        let watched = |descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN);
        let mut list: Vec<_> = bell.into_iter().chain(terminal).map(watched).collect();
        let _ = poll(&mut list, Some(&timespec(timeout)));
        let mut ready = list.iter().map(|found| !found.revents().is_empty());
        let is_rung = bell.is_some_and(|_| ready.next() == Some(true));
        self.is_quiet = ready.next() == Some(false);
        is_rung
    }
}

impl Drop for ConsolePump {
    fn drop(&mut self) {
        if let Some(session) = &self.session {
            self.console.give_back(session);
        }
    }
}
