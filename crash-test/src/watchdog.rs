//! Notices when nothing moves any more.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// How long a call may take at most: none waits for so long.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);

/// Told of every move, it notices a call that does not return.
#[derive(Clone, Default)]
pub(crate) struct Watchdog(Arc<Shared>);

#[derive(Default)]
struct Shared {
    moves: AtomicU64,
    doing: Mutex<String>,
}

impl Watchdog {
    /// Watches this program's first thread. `hung` is told what was done when nothing
    /// had moved for `limit`, and where the thread was.
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

    /// Something was done.
    pub(crate) fn alive(&self) {
        self.0.moves.fetch_add(1, Relaxed);
    }

    /// Something else is begun.
    pub(crate) fn doing(&self, what: impl FnOnce() -> String) {
        self.alive();
        *self.0.doing.lock().unwrap_or_else(PoisonError::into_inner) = what();
    }
}

/// Where the kernel describes a process's first thread.
pub(crate) fn task(process: u32) -> String {
    format!("/proc/{process}/task/{process}")
}

/// What the kernel says a thread is at, and how to learn more.
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
