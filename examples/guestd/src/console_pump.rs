//! Reads the console's output in the command loop while the loop waits for commands.
//!
//! An operator who has typed a line waits for its output. The loop is awake after the line, so it
//! reads the output without a change of threads.
//!
//! - **N1** The terminal of each [`Session`] is lent separately. The console's own thread reads the
//!   terminal of the next shell until the loop borrows it. The loop may sleep long before that, and
//!   keeps the earlier session until then.
//! - **N2** Bytes that were read but have no room wait in the session, where the console's thread
//!   finds them when the shell or the pump ends. The loop reads no more until they are sent.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use kmon_protocol::link::IdleTask;
use rustix::event::{PollFd, PollFlags, poll};

use crate::children::timespec;
use crate::console::{Console, Session};

/// Pause before bytes without room are sent again.
const RETRY: Duration = Duration::from_millis(5);

/// Lets the command loop read the console's terminal, until this is dropped.
pub(crate) struct ConsolePump {
    console: Arc<Console>,
    /// The shell whose terminal the loop reads.
    session: Option<Arc<Session>>,
    /// The last sleep found nothing to read.
    is_quiet: bool,
}

impl ConsolePump {
    /// Creates a pump that has not borrowed a terminal yet.
    pub(crate) fn new(console: Arc<Console>) -> Self {
        Self {
            console,
            session: None,
            is_quiet: false,
        }
    }
}

impl IdleTask for ConsolePump {
    fn step(&mut self) {
        self.session = self.console.borrow();
        if let Some(session) = &self.session
            && !std::mem::take(&mut self.is_quiet)
        {
            self.console.send_lent_output(session);
        }
    }

    fn sleep(&mut self, bell: Option<BorrowedFd<'_>>, timeout: Duration) -> bool {
        let (terminal, timeout) = match &self.session {
            Some(session) if session.is_readable_by_loop() => (Some(session.pty.master()), timeout),
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
            self.console.take_back(session);
        }
    }
}
