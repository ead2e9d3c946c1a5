//! The data that an instance's threads and the front end share.
//!
//! There is one lock and one condition variable: code that changes something that a waiter may wait
//! for calls [`Shared::announce`]. No thread does I/O while it holds the lock, so a slow terminal
//! or a slow instance never delays the other side.

use std::collections::{HashMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use kmon_protocol::link::Verdict;
use kmon_protocol::{Ending, LinkError, Stats};
use tokio::sync::watch;

use super::log::OutputLog;
use super::state::State;
use super::transfer::Inflight;
use crate::disklog::Ringer;

/// The stream to which a command wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Out,
    Err,
}

/// The output of a `kmexec` so far.
#[derive(Debug, Default)]
pub(crate) struct ExecOutput {
    pub(crate) chunks: VecDeque<(Stream, Vec<u8>)>,
    /// Bytes in `chunks`.
    pub(crate) waiting: usize,
    /// Bytes dropped because the front end did not take the output in time.
    pub(crate) dropped: u64,
    pub(crate) ending: Option<Ending>,
    /// The guestd that ran it is gone: no more output arrives.
    pub(crate) lost: bool,
}

impl ExecOutput {
    /// Bytes kept until the front end takes them.
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

/// The current data of an instance.
pub(crate) struct View {
    pub(crate) state: State,
    /// The process of guestd on this machine; for a machine, that of QEMU.
    pub(crate) pid: Option<i32>,
    /// When the instance was started.
    pub(crate) started: Instant,
    pub(crate) log: OutputLog,
    /// The log of its kernel.
    pub(crate) kernel_log: OutputLog,
    pub(crate) stats: Option<Stats>,
    /// The reading before `stats`.
    pub(crate) earlier_stats: Option<Stats>,
    /// The current shell has printed something, so it runs.
    pub(crate) printed: bool,
    /// What works across its memory, if that was tested.
    pub(crate) memory: Option<Verdict>,
    /// A console shows the output, so the instance waits for a slow terminal.
    pub(crate) attached: bool,
    /// Rows and columns of its terminal.
    pub(crate) terminal: Option<(u16, u16)>,
    pub(crate) execs: HashMap<u32, ExecOutput>,
    /// The copies of files in progress.
    pub(crate) transfers: HashMap<u32, Inflight>,
    /// The current guestd can copy files.
    pub(crate) copies_files: bool,
    /// The newest answer to a `QueryIdle`: its stream, and whether it is idle.
    pub(crate) idle: Option<(u32, bool)>,
    next_stream: u32,
}

impl View {
    /// Bits of a stream's number that count within one incarnation of KMON. The bits above contain
    /// the incarnation's number, so that answers to an earlier incarnation are recognized.
    const STREAM_BITS: u32 = 20;

    fn new(log: OutputLog, kernel_log: OutputLog) -> Self {
        Self {
            state: State::Halted,
            pid: None,
            started: Instant::now(),
            log,
            kernel_log,
            stats: None,
            earlier_stats: None,
            printed: false,
            memory: None,
            attached: false,
            terminal: None,
            execs: HashMap::new(),
            transfers: HashMap::new(),
            copies_files: false,
            idle: None,
            next_stream: 1,
        }
    }

    /// Returns a number that no recent exec, copy or query of this incarnation of KMON has used.
    pub(crate) fn new_stream(&mut self) -> u32 {
        let stream = self.next_stream;
        let count = (1 << Self::STREAM_BITS) - 1;
        // 0 is the console.
        let next = (stream & count) % count + 1;
        self.next_stream = stream & !count | next;
        stream
    }

    /// Resets the data for a new run. The output stays.
    pub(crate) fn begin(&mut self) {
        self.state = State::Starting;
        self.pid = None;
        self.started = Instant::now();
        self.stats = None;
        self.earlier_stats = None;
        self.printed = false;
        self.memory = None;
        self.execs.clear();
        self.transfers.clear();
        self.idle = None;
    }

    /// Notes that KMON has attached to the region as incarnation number `incarnation`.
    pub(crate) fn attached_as(&mut self, incarnation: u32) {
        self.next_stream = incarnation << Self::STREAM_BITS | 1;
    }

    /// Notes that guestd is gone, with all its commands.
    pub(crate) fn lose_guestd(&mut self) {
        let unfinished = |exec: &&mut ExecOutput| exec.ending.is_none();
        let execs = self.execs.values_mut();
        execs.filter(unfinished).for_each(|exec| exec.lost = true);
        self.transfers.values_mut().for_each(Inflight::lose);
        self.idle = None;
        self.printed = false;
        self.memory = None;
    }

    /// Returns how many bytes an attached front end has not taken yet.
    pub(crate) fn backlog(&self) -> u64 {
        let console = if self.attached { self.log.unseen() } else { 0 };
        let execs = self.execs.values().map(|exec| exec.waiting as u64).max();
        console.max(execs.unwrap_or(0))
    }
}

/// A [`View`] with its lock.
pub(crate) struct Shared {
    view: Mutex<View>,
    changed: Condvar,
    /// The same as `changed`, for the server's tasks.
    news: watch::Sender<()>,
    /// Of the output, and of the kernel's log, if they are written to a disk.
    ringers: OnceLock<[Ringer; 2]>,
}

impl Shared {
    pub(crate) fn new(log: OutputLog, kernel_log: OutputLog) -> Self {
        Self {
            view: Mutex::new(View::new(log, kernel_log)),
            changed: Condvar::new(),
            news: watch::Sender::new(()),
            ringers: OnceLock::new(),
        }
    }

    /// Reports new output to `output`, and new lines of the kernel to `kernel`. Called once.
    pub(crate) fn write_to(&self, output: Ringer, kernel: Ringer) {
        // Nobody calls it again.
        let _ = self.ringers.set([output, kernel]);
    }

    /// Notes that there is new output for the disk.
    pub(crate) fn note_output(&self) {
        if let Some([output, _]) = self.ringers.get() {
            output.ring();
        }
    }

    /// Notes that there are new lines of the kernel for the disk.
    pub(crate) fn note_kernel(&self) {
        if let Some([_, kernel]) = self.ringers.get() {
            kernel.ring();
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the threads and the tasks that wait for a change.
    pub(crate) fn announce(&self) {
        self.changed.notify_all();
        self.news.send_replace(());
    }

    /// Returns a receiver that each later [`Shared::announce`] wakes.
    pub(crate) fn subscribe(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }

    pub(crate) fn set_state(&self, state: State) {
        self.lock().state = state;
        self.announce();
    }

    /// Notes that the region is corrupt. Returns false if that was already known.
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

    /// Waits up to `timeout` until `ready` returns true. Returns false at the time-out.
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
