//! What an instance's threads and the front end both look at.
//!
//! One lock, one condition: whoever changes something a waiter may wait for
//! calls [`Shared::announce`]. Nobody does I/O with the lock held, so a slow
//! terminal or a slow instance never holds up the other side.

use std::collections::{HashMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kmon_protocol::link::Verdict;
use kmon_protocol::{Ending, LinkError, Stats};

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
    /// The guestd that ran it is gone: nothing more comes.
    pub(crate) lost: bool,
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
pub(crate) struct View {
    pub(crate) state: State,
    /// The guest daemon's process, as this machine numbers it; of a machine, QEMU's.
    pub(crate) pid: Option<i32>,
    /// When the instance was started.
    pub(crate) started: Instant,
    pub(crate) log: OutputLog,
    /// The lines of its kernel.
    pub(crate) kernel_log: OutputLog,
    pub(crate) stats: Option<Stats>,
    /// The reading before `stats`.
    pub(crate) earlier_stats: Option<Stats>,
    /// The shell that is there now has printed something: it is there.
    pub(crate) printed: bool,
    /// What works across its memory, if that was found out.
    pub(crate) memory: Option<Verdict>,
    /// A console shows the output: let the instance wait for a slow terminal.
    pub(crate) attached: bool,
    pub(crate) execs: HashMap<u32, ExecOutput>,
    /// The newest answer to a `QueryIdle`: its stream, and whether it is idle.
    pub(crate) idle: Option<(u32, bool)>,
    next_stream: u32,
    /// How much of the log's loss an operator was told.
    told_loss: u64,
}

impl View {
    /// Bits of a stream's number that count within one incarnation of KMON; those above
    /// tell its incarnations apart, so that nothing of an earlier one's is taken for ours.
    const STREAM_BITS: u32 = 20;

    fn new(log: OutputLog, kernel_log: OutputLog) -> Self {
        Self {
            state: State::Halted,
            pid: None,
            started: Instant::now(),
            told_loss: log.lost(),
            log,
            kernel_log,
            stats: None,
            earlier_stats: None,
            printed: false,
            memory: None,
            attached: false,
            execs: HashMap::new(),
            idle: None,
            next_stream: 1,
        }
    }

    /// A number that no exec or query of this incarnation of KMON has had lately.
    pub(crate) fn new_stream(&mut self) -> u32 {
        let stream = self.next_stream;
        let count = (1 << Self::STREAM_BITS) - 1;
        // 0 is the console.
        let next = (stream & count) % count + 1;
        self.next_stream = stream & !count | next;
        stream
    }

    /// The instance is about to be started or found; the output stays.
    pub(crate) fn begin(&mut self) {
        self.state = State::Starting;
        self.pid = None;
        self.started = Instant::now();
        self.stats = None;
        self.earlier_stats = None;
        self.printed = false;
        self.memory = None;
        self.execs.clear();
        self.idle = None;
    }

    /// KMON has attached to the region, as its incarnation number `incarnation` there.
    pub(crate) fn attached_as(&mut self, incarnation: u32) {
        self.next_stream = incarnation << Self::STREAM_BITS | 1;
    }

    /// The guestd that there was is gone, with all that it was asked.
    pub(crate) fn lose_guestd(&mut self) {
        let unfinished = |exec: &&mut ExecOutput| exec.ending.is_none();
        let execs = self.execs.values_mut();
        execs.filter(unfinished).for_each(|exec| exec.lost = true);
        self.idle = None;
        self.printed = false;
        self.memory = None;
    }

    /// Bytes that were lost since the last call.
    pub(crate) fn untold_loss(&mut self) -> u64 {
        let told = std::mem::replace(&mut self.told_loss, self.log.lost());
        self.log.lost() - told
    }

    /// How much the front end is behind, where it is there to catch up.
    pub(crate) fn backlog(&self) -> u64 {
        let console = if self.attached { self.log.unseen() } else { 0 };
        let execs = self.execs.values().map(|exec| exec.waiting as u64).max();
        console.max(execs.unwrap_or(0))
    }
}

/// A [`View`] behind its lock.
pub(crate) struct Shared {
    view: Mutex<View>,
    changed: Condvar,
}

impl Shared {
    pub(crate) fn new(log: OutputLog, kernel_log: OutputLog) -> Self {
        Self {
            view: Mutex::new(View::new(log, kernel_log)),
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

    /// The region is none any more; false if that was known.
    pub(crate) fn become_corrupt(&self, error: &LinkError) -> bool {
        let mut view = self.lock();
        let known = matches!(view.state, State::Corrupt(_));
        if !known {
            view.state = State::Corrupt(error.to_string());
        }
        drop(view);
        self.announce();
        !known
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
