//! The server's messages that no request asked for.
//!
//! The newest ones are kept for clients, and all are added to KMON's own log on disk. A separate
//! thread prints them, so that the instances' threads never wait for the server's standard error.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::watch;

use crate::api::notice::Notice;
use crate::disklog::{Noter, Stamp};

/// How many notices are kept.
const MAX_KEPT: usize = 1000;

/// Prints one line, which is passed without a newline.
pub(crate) type Printer = Box<dyn FnMut(&str) + Send>;

/// Accepts notices, prints them and keeps them.
pub(crate) struct Notices {
    queue: Mutex<Queue>,
    news: watch::Sender<()>,
    /// KMON's own log.
    log: OnceLock<Noter>,
}

struct Queue {
    kept: VecDeque<Notice>,
    /// The number of the newest notice; 0 before the first.
    last: u64,
    to_print: Sender<String>,
}

impl Notices {
    /// Creates notices that are printed on standard error.
    pub(crate) fn to_stderr() -> Arc<Self> {
        Self::new(Box::new(|line| {
            // Without standard error, clients still get the notice.
            let _ = writeln!(std::io::stderr(), "kmon: {line}");
        }))
    }

    /// Creates notices that `printer` prints.
    pub(crate) fn new(mut printer: Printer) -> Arc<Self> {
        let (to_print, lines) = channel::<String>();
        std::thread::spawn(move || {
            for line in lines {
                printer(&line);
            }
        });
        let queue = Queue {
            kept: VecDeque::new(),
            last: 0,
            to_print,
        };
        Arc::new(Self {
            queue: Mutex::new(queue),
            news: watch::Sender::new(()),
            log: OnceLock::new(),
        })
    }

    /// Adds the following notices to `log`. Called once.
    pub(crate) fn log_to(&self, log: Noter) {
        // Nobody calls it again.
        let _ = self.log.set(log);
    }

    /// Adds `line`.
    pub(crate) fn post(&self, line: String) {
        let time = Stamp::now();
        if let Some(log) = self.log.get() {
            log.note(&line);
        }
        {
            let mut queue = self.lock();
            // The printing thread runs until the program ends.
            let _ = queue.to_print.send(format!("{} {line}", time.local_time()));
            queue.last += 1;
            let sequence = queue.last;
            if queue.kept.len() == MAX_KEPT {
                queue.kept.pop_front();
            }
            queue.kept.push_back(Notice {
                sequence,
                time_ms: time.millis(),
                line,
            });
        }
        self.news.send_replace(());
    }

    /// Returns the number of the newest notice.
    pub(crate) fn last(&self) -> u64 {
        self.lock().last
    }

    /// Returns the notices that are kept after the one with number `sequence`.
    pub(crate) fn since(&self, sequence: u64) -> Vec<Notice> {
        let queue = self.lock();
        let newer = queue.kept.iter().filter(|one| one.sequence > sequence);
        newer.cloned().collect()
    }

    /// Returns a receiver that each later notice wakes.
    pub(crate) fn subscribe(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_notices_are_kept_and_numbered() {
        let notices = Notices::new(Box::new(|_| {}));
        let mut news = notices.subscribe();
        for n in 1..=MAX_KEPT + 2 {
            notices.post(format!("notice {n}"));
        }
        assert!(news.has_changed().unwrap());
        news.mark_unchanged();
        let kept = notices.since(0);
        assert_eq!((kept.len(), kept[0].sequence), (MAX_KEPT, 3));
        let newest = notices.since(MAX_KEPT as u64 + 1);
        assert_eq!(newest[0].line, format!("notice {}", MAX_KEPT + 2));
        assert_eq!(notices.last(), MAX_KEPT as u64 + 2);
    }
}
