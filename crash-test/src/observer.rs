//! Detects which peers are silent or gone.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use shmem_core::primitive::AtomicU32;
use shmem_core::wait::RECHECK;
use shmem_registry::liveness::{self as heartbeat, Heartbeats};
use shmem_registry::{Processes, Registry};
use shmem_sync::{Liveness, PartitionState};

use crate::incarnation::Incarnation;
use crate::memory::PARTITIONS;
use crate::timed_wait::TimedWait;
use crate::verdict::Outcome;

/// Time within which a possible operation must succeed.
pub(crate) const LIMIT: Duration = Duration::from_secs(2);

/// The source of the states of peers.
pub(crate) enum Observer<'m> {
    /// A list, for incarnations that are not processes.
    Listed(Arc<List>),
    /// The kernel.
    Kernel(Registry<'m>, Box<Processes<'m>>),
    /// Heartbeats that stand still.
    Heartbeats(Box<HeartbeatObserver<'m>>),
}

impl<'m> Observer<'m> {
    pub(crate) fn listed() -> Self {
        Self::Listed(Arc::default())
    }

    pub(crate) fn by_kernel(registry: Registry<'m>) -> Self {
        Self::Kernel(registry, Box::new(Processes::new(registry)))
    }

    /// With `presume_gone`, reports silent partitions as gone, which is wrong.
    pub(crate) fn by_heartbeat(
        registry: Registry<'m>,
        false_silences: &'m AtomicU32,
        presume_gone: bool,
    ) -> Self {
        let heartbeats = Heartbeats::new(registry);
        Self::Heartbeats(Box::new(HeartbeatObserver {
            registry,
            presume_gone,
            heartbeats: match presume_gone {
                true => heartbeats.presume_gone_after(heartbeat::SILENCE_LIMIT),
                false => heartbeats,
            },
            processes: Processes::new(registry),
            false_silences,
            last_noted: [None; PARTITIONS],
        }))
    }

    /// Notes on the list which state an incarnation is in.
    pub(crate) fn declare(&self, incarnation: Incarnation, state: PartitionState) {
        if let Self::Listed(list) = self {
            list.lock().push((incarnation, state));
        }
    }

    /// Whether incarnations are not processes, and time stands still.
    pub(crate) fn is_listed(&self) -> bool {
        matches!(self, Self::Listed(_))
    }

    /// Returns another observer with the same source.
    pub(crate) fn share(&self) -> Self {
        match self {
            Self::Listed(list) => Self::Listed(Arc::clone(list)),
            Self::Kernel(registry, _) => Self::by_kernel(*registry),
            Self::Heartbeats(source) => {
                Self::by_heartbeat(source.registry, source.false_silences, source.presume_gone)
            }
        }
    }

    /// Repeats `done`, which a death prevents until it is detected. Calls it once where deaths
    /// are detected at once. Returns true if it succeeded.
    pub(crate) fn retry_until_detected(
        &mut self,
        mut done: impl FnMut(&mut Self) -> Outcome<bool>,
    ) -> Outcome<bool> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let is_last = !matches!(self, Self::Heartbeats(_)) || Instant::now() > deadline;
            if done(self)? {
                return Ok(true);
            }
            if is_last {
                return Ok(false);
            }
            thread::sleep(RECHECK / 4);
        }
    }

    /// Begins to watch all attached partitions.
    pub(crate) fn watch_all(&mut self, registry: &Registry<'_>) {
        for partition in 1..=registry.geometry().partitions as u8 {
            let found = registry.partition(partition).ok();
            if let Some(incarnation) = found.and_then(|found| found.incarnation) {
                self.is_gone(incarnation);
            }
        }
    }

    /// Whether `incarnation` is gone according to the surest source.
    pub(crate) fn is_truly_gone(&mut self, incarnation: Incarnation) -> bool {
        match self {
            Self::Heartbeats(source) => source.processes.is_gone(incarnation),
            observer => observer.is_gone(incarnation),
        }
    }

    /// A wait for an event for which a peer wakes us at once, unless it is gone.
    pub(crate) fn wait(&self, limit: Duration) -> TimedWait {
        match self {
            Self::Listed(_) => TimedWait::checks(),
            _ => TimedWait::futex(limit),
        }
    }

    /// A wait for an event by polling.
    pub(crate) fn poll(&self, limit: Duration) -> TimedWait {
        match self {
            Self::Listed(_) => TimedWait::checks(),
            _ => TimedWait::polls(limit),
        }
    }
}

impl Liveness for Observer<'_> {
    fn state(&mut self, incarnation: Incarnation) -> PartitionState {
        match self {
            Self::Listed(list) => list.state(incarnation),
            Self::Kernel(_, processes) => processes.state(incarnation),
            Self::Heartbeats(source) => source.state(incarnation),
        }
    }
}

/// Incarnations that are not alive, with their states.
#[derive(Default)]
pub(crate) struct List(Mutex<Vec<(Incarnation, PartitionState)>>);

impl List {
    fn lock(&self) -> MutexGuard<'_, Vec<(Incarnation, PartitionState)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The worst listed state; an entry also holds for earlier incarnations of the partition.
    fn state(&self, asked: Incarnation) -> PartitionState {
        let list = self.lock();
        let listed = list.iter().filter(|(listed, _)| {
            listed.partition() == asked.partition() && asked.number() <= listed.number()
        });
        let states = listed.map(|&(_, state)| state);
        states.max().unwrap_or(PartitionState::Alive)
    }
}

/// Heartbeats, and the kernel for silent partitions: silence alone makes no partition gone.
pub(crate) struct HeartbeatObserver<'m> {
    registry: Registry<'m>,
    presume_gone: bool,
    heartbeats: Heartbeats<'m, fn() -> Duration>,
    processes: Processes<'m>,
    /// Counts how often an incarnation was silent and not gone.
    false_silences: &'m AtomicU32,
    /// The last such time for each partition.
    last_noted: [Option<Instant>; PARTITIONS],
}

impl HeartbeatObserver<'_> {
    fn note_false_silence(&mut self, incarnation: Incarnation) {
        let now = Instant::now();
        let last = &mut self.last_noted[usize::from(incarnation.partition()) % PARTITIONS];
        if last.is_none_or(|at| now - at >= heartbeat::SILENCE_LIMIT) {
            self.false_silences.fetch_add(1, Relaxed);
        }
        *last = Some(now);
    }
}

impl Liveness for HeartbeatObserver<'_> {
    fn state(&mut self, incarnation: Incarnation) -> PartitionState {
        let state = self.heartbeats.state(incarnation);
        if state == PartitionState::Silent && self.processes.is_gone(incarnation) {
            return PartitionState::Gone;
        }
        if state == PartitionState::Silent {
            self.note_false_silence(incarnation);
        }
        state
    }
}
