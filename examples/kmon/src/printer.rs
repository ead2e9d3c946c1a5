//! Prints the server's notices for an operator.
//!
//! Each is printed with its local time. A separate thread prints them, so that no other thread waits for a terminal. While a console
//! uses the terminal, notices are held back until the operator returns to the prompt.

use std::io::Write;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use crate::disklog::Stamp;
use crate::notices::Printer;

/// Accepts notices and prints them.
#[derive(Debug)]
pub(crate) struct NoticePrinter {
    queue: Mutex<Queue>,
}

/// What the printing thread does next.
#[derive(Debug)]
enum Item {
    Print(String),
    /// Answer that everything before was printed.
    Answer(Sender<()>),
}

#[derive(Debug)]
struct Queue {
    lines: Sender<Item>,
    /// The lines held back while a console uses the terminal.
    held: Option<Vec<String>>,
}

impl NoticePrinter {
    /// How many lines are held back while a console uses the terminal.
    const MAX_HELD: usize = 1000;

    /// Creates notices that `printer` prints.
    pub(crate) fn new(mut printer: Printer) -> Arc<Self> {
        let (lines, to_print) = channel::<Item>();
        std::thread::spawn(move || {
            for item in to_print {
                match item {
                    Item::Print(line) => printer(&line),
                    // The one who asked may not wait any more.
                    Item::Answer(asked) => drop(asked.send(())),
                }
            }
        });
        let queue = Queue { lines, held: None };
        Arc::new(Self {
            queue: Mutex::new(queue),
        })
    }

    /// Creates notices on standard error.
    pub(crate) fn to_stderr() -> Arc<Self> {
        Self::new(Box::new(|line| {
            // Without standard error there is no way to report this.
            let _ = writeln!(std::io::stderr(), "kmon: {line}");
        }))
    }

    /// Prints `line` with the time now.
    pub(crate) fn post(&self, line: &str) {
        self.post_at(Stamp::now(), line);
    }

    /// Prints `line` with its time, now or when the operator returns to the prompt.
    pub(crate) fn post_at(&self, time: Stamp, line: &str) {
        let line = format!("{} {line}", time.local_time());
        let mut queue = self.lock();
        match &mut queue.held {
            Some(held) if held.len() < Self::MAX_HELD => held.push(line),
            Some(_) => {}
            None => {
                // The printing thread runs until the program ends.
                let _ = queue.lines.send(Item::Print(line));
            }
        }
    }

    /// Waits until the notices so far are printed, apart from those that are held back.
    pub(crate) fn flush(&self) {
        let (asked, answer) = channel();
        // The printing thread runs until the program ends.
        let _ = self.lock().lines.send(Item::Answer(asked));
        let _ = answer.recv();
    }

    /// Holds notices back until [`NoticePrinter::release`].
    pub(crate) fn hold(&self) {
        self.lock().held.get_or_insert_default();
    }

    /// Prints the notices that were held back.
    pub(crate) fn release(&self) {
        let mut queue = self.lock();
        for line in queue.held.take().unwrap_or_default() {
            // The printing thread runs until the program ends.
            let _ = queue.lines.send(Item::Print(line));
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
        let notices = NoticePrinter::new(Box::new(move |line| {
            seen.send(line.to_owned()).unwrap();
        }));
        let within = |time| lines.recv_timeout(time).ok();
        let next = || within(Duration::from_secs(30));
        notices.post("one");
        let text = |line: Option<String>| line?.split_once(' ').map(|(_, text)| text.to_owned());
        assert_eq!(text(next()).as_deref(), Some("one"));
        notices.hold();
        notices.post("two");
        notices.post("three");
        assert_eq!(within(Duration::from_millis(200)), None);
        notices.release();
        assert_eq!(
            (text(next()).as_deref(), text(next()).as_deref()),
            (Some("two"), Some("three"))
        );
    }
}
