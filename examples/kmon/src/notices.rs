//! Messages of KMON that no command asked for.
//!
//! A separate thread prints them, so that the instances' threads never wait for a terminal. While a
//! console uses the terminal, notices are held back until the operator returns to the prompt.

use std::io::Write;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::disklog::{Noter, Stamp};

/// Prints one line, which is passed without a newline.
pub(crate) type Printer = Box<dyn FnMut(&str) + Send>;

/// Accepts notices, prints them with their times, and adds them to KMON's own log.
pub(crate) struct Notices {
    queue: Mutex<Queue>,
    /// KMON's own log.
    log: OnceLock<Noter>,
}

struct Queue {
    lines: Sender<String>,
    /// The lines held back while a console uses the terminal.
    held: Option<Vec<String>>,
}

impl Notices {
    /// How many lines are held back while a console uses the terminal.
    const MAX_HELD: usize = 1000;

    /// Creates notices that `printer` prints.
    pub(crate) fn new(mut printer: Printer) -> Arc<Self> {
        let (lines, to_print) = channel::<String>();
        std::thread::spawn(move || {
            for line in to_print {
                printer(&line);
            }
        });
        let queue = Queue { lines, held: None };
        Arc::new(Self {
            queue: Mutex::new(queue),
            log: OnceLock::new(),
        })
    }

    /// Adds the following notices to `log`. Called once.
    pub(crate) fn log_to(&self, log: Noter) {
        // Nobody calls it again.
        let _ = self.log.set(log);
    }

    /// Creates notices on standard error.
    pub(crate) fn to_stderr() -> Arc<Self> {
        Self::new(Box::new(|line| {
            // Without standard error there is no way to report this.
            let _ = writeln!(std::io::stderr(), "kmon: {line}");
        }))
    }

    /// Prints `line`, now or when the operator returns to the prompt.
    pub(crate) fn post(&self, line: String) {
        if let Some(log) = self.log.get() {
            log.note(&line);
        }
        let line = format!("{} {line}", Stamp::now().local_time());
        let mut queue = self.lock();
        match &mut queue.held {
            Some(held) if held.len() < Self::MAX_HELD => held.push(line),
            Some(_) => {}
            None => {
                // The printing thread runs until the program ends.
                let _ = queue.lines.send(line);
            }
        }
    }

    /// Holds notices back until [`Notices::release`].
    pub(crate) fn hold(&self) {
        self.lock().held.get_or_insert_default();
    }

    /// Prints the notices that were held back.
    pub(crate) fn release(&self) {
        let mut queue = self.lock();
        for line in queue.held.take().unwrap_or_default() {
            // The printing thread runs until the program ends.
            let _ = queue.lines.send(line);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn notices_are_held_back_while_a_console_uses_the_terminal() {
        let (seen, lines) = channel();
        let notices = Notices::new(Box::new(move |line| {
            seen.send(line.to_owned()).unwrap();
        }));
        let within = |time| lines.recv_timeout(time).ok();
        let next = || within(Duration::from_secs(30));
        notices.post("one".into());
        let text = |line: Option<String>| line?.split_once(' ').map(|(_, text)| text.to_owned());
        assert_eq!(text(next()).as_deref(), Some("one"));
        notices.hold();
        notices.post("two".into());
        notices.post("three".into());
        assert_eq!(within(Duration::from_millis(200)), None);
        notices.release();
        assert_eq!(
            (text(next()).as_deref(), text(next()).as_deref()),
            (Some("two"), Some("three"))
        );
    }
}
