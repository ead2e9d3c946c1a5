//! What KMON has to say while the operator does something else.
//!
//! A thread of its own prints: the instances' threads, which notice that
//! something happened, never wait for a terminal. While a console has the
//! terminal, notices are kept and shown when the operator is back.

use std::io::Write;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

/// Shows one line; gets it without its end.
pub(crate) type Printer = Box<dyn FnMut(&str) + Send>;

/// The place to which notices go.
#[derive(Debug)]
pub(crate) struct Notices {
    queue: Mutex<Queue>,
}

#[derive(Debug)]
struct Queue {
    lines: Sender<String>,
    /// The lines kept back, while a console has the terminal.
    held: Option<Vec<String>>,
}

impl Notices {
    /// Lines that are kept while a console has the terminal.
    const MAX_HELD: usize = 1000;

    /// Prints through `printer` from now on.
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
        })
    }

    /// Notices to standard error.
    pub(crate) fn to_stderr() -> Arc<Self> {
        Self::new(Box::new(|line| {
            // Nobody is left to tell that standard error is gone.
            let _ = writeln!(std::io::stderr(), "kmon: {line}");
        }))
    }

    /// Shows `line`, now or when the operator is back at the prompt.
    pub(crate) fn say(&self, line: String) {
        let mut queue = self.lock();
        match &mut queue.held {
            Some(held) if held.len() < Self::MAX_HELD => held.push(line),
            Some(_) => {}
            None => {
                // The printing thread ends with the program only.
                let _ = queue.lines.send(line);
            }
        }
    }

    /// Keeps notices back until [`Notices::release`].
    pub(crate) fn hold(&self) {
        self.lock().held.get_or_insert_default();
    }

    /// Shows what was kept back.
    pub(crate) fn release(&self) {
        let mut queue = self.lock();
        for line in queue.held.take().unwrap_or_default() {
            // The printing thread ends with the program only.
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
    fn notices_wait_while_a_console_has_the_terminal() {
        let (seen, lines) = channel();
        let notices = Notices::new(Box::new(move |line| {
            seen.send(line.to_owned()).unwrap();
        }));
        let within = |time| lines.recv_timeout(time).ok();
        let next = || within(Duration::from_secs(30));
        notices.say("one".into());
        assert_eq!(next().as_deref(), Some("one"));
        notices.hold();
        notices.say("two".into());
        notices.say("three".into());
        assert_eq!(within(Duration::from_millis(200)), None);
        notices.release();
        assert_eq!(
            (next().as_deref(), next().as_deref()),
            (Some("two"), Some("three"))
        );
    }
}
