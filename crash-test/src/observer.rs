//! How a party learns which of its peers are silent or gone.

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

/// How long something may take that is possible.
pub(crate) const LIMIT: Duration = Duration::from_secs(2);

/// How states become known.
pub(crate) enum Observer<'m> {
    /// By a list: where incarnations are not processes.
    Listed(Arc<List>),
    /// By the kernel.
    Kernel(Registry<'m>, Box<Processes<'m>>),
    /// By a heartbeat that stands still.
    Heartbeats(Box<Silence<'m>>),
}

impl<'m> Observer<'m> {
    pub(crate) fn listed() -> Self {
        Self::Listed(Arc::default())
    }

    pub(crate) fn by_kernel(registry: Registry<'m>) -> Self {
        Self::Kernel(registry, Box::new(Processes::new(registry)))
    }

    /// With `presume_gone` whoever is silent is taken for gone, which is wrong.
    pub(crate) fn by_heartbeat(
        registry: Registry<'m>,
        doubts: &'m AtomicU32,
        presume_gone: bool,
    ) -> Self {
        let heartbeats = Heartbeats::new(registry);
        Self::Heartbeats(Box::new(Silence {
            registry,
            presume_gone,
            heartbeats: match presume_gone {
                true => heartbeats.presume_gone_after(heartbeat::LIMIT),
                false => heartbeats,
            },
            processes: Processes::new(registry),
            doubts,
            doubted: [None; PARTITIONS],
        }))
    }

    /// Says on the list what state an incarnation is in.
    pub(crate) fn declare(&self, incarnation: Incarnation, state: PartitionState) {
        if let Self::Listed(list) = self {
            list.lock().push((incarnation, state));
        }
    }

    /// Whether incarnations are no processes, and time stands still.
    pub(crate) fn is_listed(&self) -> bool {
        matches!(self, Self::Listed(_))
    }

    /// Another that learns in the same way.
    pub(crate) fn share(&self) -> Self {
        match self {
            Self::Listed(list) => Self::Listed(Arc::clone(list)),
            Self::Kernel(registry, _) => Self::by_kernel(*registry),
            Self::Heartbeats(silence) => {
                Self::by_heartbeat(silence.registry, silence.doubts, silence.presume_gone)
            }
        }
    }

    /// Repeats what a death prevents, until it is known and that is done; or once, where
    /// deaths are known at once. Returns whether it is done.
    pub(crate) fn until_known(
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

    /// Begins to watch whoever is attached.
    pub(crate) fn watch_all(&mut self, registry: &Registry<'_>) {
        for partition in 1..=registry.geometry().partitions as u8 {
            let found = registry.partition(partition).ok();
            if let Some(incarnation) = found.and_then(|found| found.incarnation) {
                self.is_gone(incarnation);
            }
        }
    }

    /// Whether `incarnation` is gone, whoever knows.
    pub(crate) fn is_truly_gone(&mut self, incarnation: Incarnation) -> bool {
        match self {
            Self::Heartbeats(silence) => silence.processes.is_gone(incarnation),
            observer => observer.is_gone(incarnation),
        }
    }

    /// A wait for something that a peer wakes us for at once, unless it is gone.
    pub(crate) fn wait(&self, limit: Duration) -> TimedWait {
        match self {
            Self::Listed(_) => TimedWait::checks(),
            _ => TimedWait::futex(limit),
        }
    }

    /// The same by polling.
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
            Self::Heartbeats(silence) => silence.state(incarnation),
        }
    }
}

/// Incarnations that are not alive, and what they are.
#[derive(Default)]
pub(crate) struct List(Mutex<Vec<(Incarnation, PartitionState)>>);

impl List {
    fn lock(&self) -> MutexGuard<'_, Vec<(Incarnation, PartitionState)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The worst that is said; earlier incarnations of a partition are what a later one is.
    fn state(&self, asked: Incarnation) -> PartitionState {
        let list = self.lock();
        let said = list.iter().filter(|(listed, _)| {
            listed.partition() == asked.partition() && asked.number() <= listed.number()
        });
        let states = said.map(|&(_, state)| state);
        states.max().unwrap_or(PartitionState::Alive)
    }
}

/// Heartbeats, and the kernel for those that are silent: that alone makes nobody gone.
pub(crate) struct Silence<'m> {
    registry: Registry<'m>,
    presume_gone: bool,
    heartbeats: Heartbeats<'m, fn() -> Duration>,
    processes: Processes<'m>,
    /// Counts the times that an incarnation was silent and not gone.
    doubts: &'m AtomicU32,
    /// The last such time, of each partition.
    doubted: [Option<Instant>; PARTITIONS],
}

impl Silence<'_> {
    fn doubt(&mut self, incarnation: Incarnation) {
        let now = Instant::now();
        let last = &mut self.doubted[usize::from(incarnation.partition()) % PARTITIONS];
        if last.is_none_or(|at| now - at >= heartbeat::LIMIT) {
            self.doubts.fetch_add(1, Relaxed);
        }
        *last = Some(now);
    }
}

impl Liveness for Silence<'_> {
    fn state(&mut self, incarnation: Incarnation) -> PartitionState {
        let said = self.heartbeats.state(incarnation);
        if said == PartitionState::Silent && self.processes.is_gone(incarnation) {
            return PartitionState::Gone;
        }
        if said == PartitionState::Silent {
            self.doubt(incarnation);
        }
        said
    }
}
