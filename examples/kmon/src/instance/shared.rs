//! What an instance's threads and the front end both look at.
//!
//! One lock, one condition: whoever changes something a waiter may wait for
//! calls [`Shared::announce`]. Nobody does I/O with the lock held, so a slow
//! terminal or a slow instance never holds up the other side.

use std::collections::{HashMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kmon_protocol::{Ending, Stats};

use super::log::OutputLog;
use super::state::State;

/// Which of its two outputs a command wrote to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Out,
    Err,
}

/// What a `kmexec` in flight has got so far.
#[derive(Debug, Default)]
pub(crate) struct ExecOutput {
    pub(crate) chunks: VecDeque<(Stream, Vec<u8>)>,
    /// Bytes in `chunks`.
    pub(crate) waiting: usize,
    /// Bytes left out because they were not taken in time.
    pub(crate) dropped: u64,
    pub(crate) ending: Option<Ending>,
}

impl ExecOutput {
    /// Bytes kept for a front end that does not take them.
    const MAX_WAITING: usize = 2 * 1024 * 1024;

    pub(crate) fn push(&mut self, stream: Stream, bytes: &[u8]) {
        if self.waiting + bytes.len() > Self::MAX_WAITING {
            self.dropped += bytes.len() as u64;
            return;
        }
        self.waiting += bytes.len();
        self.chunks.push_back((stream, bytes.to_vec()));
    }
}

/// An instance as of now.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) state: State,
    /// The guest daemon's process, as this machine numbers it.
    pub(crate) pid: Option<i32>,
    /// When this life began.
    pub(crate) started: Instant,
    pub(crate) log: OutputLog,
    pub(crate) stats: Option<Stats>,
    /// The reading before `stats`.
    pub(crate) earlier_stats: Option<Stats>,
    /// It has printed something in this life: its shell is there.
    pub(crate) printed: bool,
    /// A console shows the output: let the instance wait for a slow terminal.
    pub(crate) attached: bool,
    pub(crate) execs: HashMap<u32, ExecOutput>,
    /// The newest answer to a `QueryIdle`: its stream, and whether it is idle.
    pub(crate) idle: Option<(u32, bool)>,
    /// Bytes the instance dropped because KMON did not take them.
    pub(crate) dropped_by_instance: u64,
    next_stream: u32,
    /// How much of the log's loss an operator was told.
    told_loss: u64,
}

impl View {
    fn new(log_bytes: usize) -> Self {
        Self {
            state: State::Halted,
            pid: None,
            started: Instant::now(),
            log: OutputLog::new(log_bytes),
            stats: None,
            earlier_stats: None,
            printed: false,
            attached: false,
            execs: HashMap::new(),
            idle: None,
            dropped_by_instance: 0,
            next_stream: 1,
            told_loss: 0,
        }
    }

    /// A number that no exec or query of this run of KMON has had.
    pub(crate) fn new_stream(&mut self) -> u32 {
        let stream = self.next_stream;
        // 0 is the console.
        self.next_stream = stream.checked_add(1).unwrap_or(1);
        stream
    }

    /// Bytes that were lost since the last call.
    pub(crate) fn untold_loss(&mut self) -> u64 {
        let told = std::mem::replace(&mut self.told_loss, self.log.lost());
        self.log.lost() - told
    }

    /// A new life begins; the output stays.
    pub(crate) fn new_life(&mut self) {
        self.state = State::Starting;
        self.pid = None;
        self.started = Instant::now();
        self.stats = None;
        self.earlier_stats = None;
        self.printed = false;
        self.execs.clear();
        self.idle = None;
        self.log.new_life();
    }

    /// Bytes of output that nobody got to see, here and in the instance.
    pub(crate) fn dropped(&self) -> u64 {
        let reported = self.stats.as_ref().map_or(0, |stats| stats.dropped_bytes);
        self.log.lost() + self.dropped_by_instance.max(reported)
    }

    /// How much the front end is behind, where it is there to catch up.
    pub(crate) fn backlog(&self) -> u64 {
        let console = if self.attached { self.log.unseen() } else { 0 };
        let execs = self.execs.values().map(|exec| exec.waiting as u64).max();
        console.max(execs.unwrap_or(0))
    }
}

/// A [`View`] behind its lock.
#[derive(Debug)]
pub(crate) struct Shared {
    view: Mutex<View>,
    changed: Condvar,
}

impl Shared {
    pub(crate) fn new(log_bytes: usize) -> Self {
        Self {
            view: Mutex::new(View::new(log_bytes)),
            changed: Condvar::new(),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes who waits for a change.
    pub(crate) fn announce(&self) {
        self.changed.notify_all();
    }

    /// Waits up to `timeout` for [`Shared::announce`].
    pub(crate) fn wait<'a>(
        &self,
        view: MutexGuard<'a, View>,
        timeout: Duration,
    ) -> MutexGuard<'a, View> {
        let waited = self.changed.wait_timeout(view, timeout);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Waits up to `timeout` until `ready` says so; returns what it said last.
    pub(crate) fn wait_until(
        &self,
        timeout: Duration,
        mut ready: impl FnMut(&mut View) -> bool,
    ) -> bool {
        let deadline = Instant::now() + timeout;
        let mut view = self.lock();
        while !ready(&mut view) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            view = self.wait(view, left);
        }
        true
    }
}
