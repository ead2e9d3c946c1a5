//! Notices a call that does not return.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// The longest time that a call may take; no wait is this long.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);

/// Counts moves, and notices when there are none.
#[derive(Clone, Default)]
pub(crate) struct Watchdog(Arc<Shared>);

#[derive(Default)]
struct Shared {
    moves: AtomicU64,
    doing: Mutex<String>,
}

impl Watchdog {
    /// Watches this program's first thread. After `limit` without a move, calls `hung` with a
    /// description of the last action and of the thread.
    pub(crate) fn start(&self, limit: Duration, hung: impl FnOnce(String) + Send + 'static) {
        let shared = Arc::clone(&self.0);
        let task = task(std::process::id());
        thread::spawn(move || {
            loop {
                let before = shared.moves.load(Relaxed);
                thread::sleep(limit);
                if shared.moves.load(Relaxed) == before {
                    break;
                }
            }
            let doing = shared.doing.lock().unwrap_or_else(PoisonError::into_inner);
            hung(format!("{doing}\n  {}", whereabouts(&task)));
        });
    }

    /// Counts a move.
    pub(crate) fn alive(&self) {
        self.0.moves.fetch_add(1, Relaxed);
    }

    /// Counts a move, and notes the action that begins.
    pub(crate) fn doing(&self, what: impl FnOnce() -> String) {
        self.alive();
        *self.0.doing.lock().unwrap_or_else(PoisonError::into_inner) = what();
    }
}

/// The directory in which the kernel describes a process's first thread.
pub(crate) fn task(process: u32) -> String {
    format!("/proc/{process}/task/{process}")
}

/// Describes what a thread does according to the kernel, and how to learn more.
pub(crate) fn whereabouts(task: &str) -> String {
    let read = |file: &str| {
        let text = std::fs::read_to_string(format!("{task}/{file}")).unwrap_or_default();
        text.trim().to_owned()
    };
    let status = read("status");
    let state = status.lines().find_map(|line| line.strip_prefix("State:"));
    let id = task.rsplit('/').next().unwrap_or_default();
    format!(
        "process {id} is {}, in system call {:?}, waits in {:?}; \
         `gdb -p {id} -batch -ex bt` shows its stack",
        state.unwrap_or("gone").trim(),
        read("syscall"),
        read("wchan"),
    )
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_call_that_does_not_return_is_reported_with_what_was_done() {
        let watchdog = Watchdog::default();
        let (sender, reports) = mpsc::channel();
        watchdog.doing(|| "waiting for ever".to_owned());
        watchdog.start(Duration::from_millis(1), move |what| {
            let _ = sender.send(what);
        });
        let report = reports.recv().unwrap();
        assert!(report.starts_with("waiting for ever\n  process "));
    }
}
