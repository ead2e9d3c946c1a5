//! Wakes the writing thread, and waits for it.
//!
//! To ring is cheap, so an instance's thread does it after each step that has taken output. While
//! nothing is printed, nobody rings, and the writing thread sleeps without a limit.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::name::LogName;

/// Requests to the writing thread, and what it has done.
#[derive(Default)]
pub(super) struct Bell {
    state: Mutex<State>,
    rung: Condvar,
    done: Condvar,
    /// Reports each write to those who follow a log.
    written: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    /// Logs with new output.
    dirty: BTreeSet<LogName>,
    /// Requests to write everything, and how many of them were carried out.
    flushes: u64,
    flushed: u64,
    stop: bool,
    stopped: bool,
}

/// What the writing thread is to do.
#[derive(Debug, Default)]
pub(super) struct Rung {
    pub(super) dirty: BTreeSet<LogName>,
    /// Requests to write everything until now.
    pub(super) flushes: Option<u64>,
    pub(super) stop: bool,
}

impl Bell {
    /// Notes that the log `name` has new output.
    pub(super) fn ring(&self, name: LogName) {
        if self.lock().dirty.insert(name) {
            self.rung.notify_one();
        }
    }

    /// Waits until `deadline`, without a limit if `None`, for requests, and takes them.
    pub(super) fn wait(&self, deadline: Option<Instant>) -> Rung {
        let mut state = self.lock();
        loop {
            let flushes = (state.flushes > state.flushed).then_some(state.flushes);
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            let is_due = left.is_some_and(|left| left.is_zero());
            if !state.dirty.is_empty() || flushes.is_some() || state.stop || is_due {
                let dirty = std::mem::take(&mut state.dirty);
                let stop = state.stop;
                return Rung {
                    dirty,
                    flushes,
                    stop,
                };
            }
            state = match left {
                Some(left) => {
                    let waited = self.rung.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self
                    .rung
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Notes that something was written.
    pub(super) fn note_write(&self) {
        self.written.send_replace(());
    }

    /// Notes that the requests up to number `flushes` were carried out.
    pub(super) fn note_flush(&self, flushes: u64) {
        self.lock().flushed = flushes;
        self.done.notify_all();
    }

    /// Requests that everything is written, and waits for that. Returns false at the time-out.
    pub(super) fn flush(&self, timeout: Duration) -> bool {
        let wanted = {
            let mut state = self.lock();
            state.flushes += 1;
            state.flushes
        };
        self.rung.notify_one();
        self.wait_done(timeout, |state| state.flushed >= wanted)
    }

    /// Returns a receiver that each later write wakes.
    pub(super) fn subscribe(&self) -> watch::Receiver<()> {
        self.written.subscribe()
    }

    /// Ends the writing thread after it has written everything, and waits for that, at most
    /// `timeout`.
    pub(super) fn stop(&self, timeout: Duration) {
        self.lock().stop = true;
        self.rung.notify_one();
        self.wait_done(timeout, |state| state.stopped);
    }

    /// Notes that the writing thread has ended.
    pub(super) fn note_stopped(&self) {
        self.lock().stopped = true;
        self.done.notify_all();
    }

    fn wait_done(&self, timeout: Duration, is_done: impl Fn(&State) -> bool) -> bool {
        let waits = |state: &mut State| !is_done(state);
        let waited = self.done.wait_timeout_while(self.lock(), timeout, waits);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reports new output of one log to the writing thread.
#[derive(Clone)]
pub(crate) struct Ringer {
    pub(super) bell: Arc<Bell>,
    pub(super) name: LogName,
}

impl Ringer {
    pub(crate) fn ring(&self) {
        self.bell.ring(self.name);
    }
}
