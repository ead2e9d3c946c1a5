//! Who is known to be dead, and how long one waits for the others.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use shmem_core::Life;
use shmem_core::primitive::AtomicU32;
use shmem_core::wait::{Pause, RECHECK, Wait};
use shmem_registry::liveness::{self as heartbeat, Heartbeats};
use shmem_registry::{Processes, Registry};
use shmem_sync::{Futex, Liveness, PartitionState, SpinYield};

use super::scenario::Outcome;
use super::stage::PARTITIONS;

/// Looks at a word that nobody changes any more: enough to be told whose it is.
const CHECKS: u32 = 12;
/// Those of them that are a sleep.
const SLEEPS: u32 = 3;

/// How long something may take that is possible.
pub(super) const LIMIT: Duration = Duration::from_secs(2);

/// How deaths become known.
pub(super) enum Deaths<'m> {
    /// By a list: where lives are not processes.
    Listed(Arc<List>),
    /// By the kernel.
    Processes(Box<Kernel<'m>>),
    /// By a heartbeat that stands still.
    Heartbeats(Box<Silence<'m>>),
}

impl<'m> Deaths<'m> {
    pub(super) fn listed() -> Self {
        Self::Listed(Arc::default())
    }

    pub(super) fn of_processes(registry: Registry<'m>) -> Self {
        Self::Processes(Box::new(Kernel {
            registry,
            processes: Processes::new(registry),
        }))
    }

    /// `rash` takes whoever is silent for gone, which is wrong.
    pub(super) fn by_heartbeat(registry: Registry<'m>, doubts: &'m AtomicU32, rash: bool) -> Self {
        let heartbeats = Heartbeats::new(registry);
        Self::Heartbeats(Box::new(Silence {
            registry,
            rash,
            heartbeats: match rash {
                true => heartbeats.presume_gone_after(heartbeat::LIMIT),
                false => heartbeats,
            },
            processes: Processes::new(registry),
            doubts,
            doubted: [None; PARTITIONS],
        }))
    }

    /// Puts a life on the list.
    pub(super) fn bury(&self, life: Life) {
        self.declare(life, PartitionState::Gone);
    }

    /// Says on the list what state a life is in.
    pub(super) fn declare(&self, life: Life, state: PartitionState) {
        if let Self::Listed(list) = self {
            list.lives().push((life, state));
        }
    }

    /// The same, for another life.
    pub(super) fn share(&self) -> Self {
        match self {
            Self::Listed(list) => Self::Listed(Arc::clone(list)),
            Self::Processes(kernel) => Self::of_processes(kernel.registry),
            Self::Heartbeats(silence) => {
                Self::by_heartbeat(silence.registry, silence.doubts, silence.rash)
            }
        }
    }

    /// Repeats what a death prevents, until it is known and that is done; or once, where
    /// deaths are known at once. Whether it is done.
    pub(super) fn until_known(
        &mut self,
        mut done: impl FnMut(&mut Self) -> Outcome<bool>,
    ) -> Outcome<bool> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let late = !matches!(self, Self::Heartbeats(_)) || Instant::now() > deadline;
            if done(self)? {
                return Ok(true);
            }
            if late {
                return Ok(false);
            }
            thread::sleep(RECHECK / 4);
        }
    }

    /// Begins to watch whoever is attached.
    pub(super) fn watch_all(&mut self, registry: &Registry<'_>) {
        for partition in 1..=registry.geometry().partitions as u8 {
            let found = registry.partition(partition).ok();
            if let Some(life) = found.and_then(|found| found.life) {
                self.is_gone(life);
            }
        }
    }

    /// Whether `life` is over, whoever knows.
    pub(super) fn is_truly_over(&mut self, life: Life) -> bool {
        match self {
            Self::Heartbeats(silence) => silence.processes.is_gone(life),
            deaths => deaths.is_gone(life),
        }
    }

    /// A wait for something that happens at once, unless a life is over that nobody misses.
    pub(super) fn patience(&self, limit: Duration) -> Patience {
        match self {
            Self::Listed(_) => Patience::Checks(Checks(CHECKS)),
            _ => Patience::Futex(Futex::timeout(limit).spin_first(100)),
        }
    }

    /// The same by looking, for those whom nobody wakes.
    pub(super) fn watch(&self, limit: Duration) -> Patience {
        match self {
            Self::Listed(_) => Patience::Checks(Checks(CHECKS)),
            _ => Patience::Looks(SpinYield::timeout(limit)),
        }
    }
}

impl Liveness for Deaths<'_> {
    fn state(&mut self, life: Life) -> PartitionState {
        match self {
            Self::Listed(list) => list.state(life),
            Self::Processes(kernel) => kernel.processes.state(life),
            Self::Heartbeats(silence) => silence.state(life),
        }
    }
}

/// Lives that are not alive, and what they are.
#[derive(Default)]
pub(super) struct List(Mutex<Vec<(Life, PartitionState)>>);

impl List {
    fn lives(&self) -> MutexGuard<'_, Vec<(Life, PartitionState)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The worst that is said; earlier lives of a partition are what a later one is.
    fn state(&self, life: Life) -> PartitionState {
        let lives = self.lives();
        let said = lives.iter().filter(|(listed, _)| {
            listed.partition() == life.partition() && life.incarnation() <= listed.incarnation()
        });
        let states = said.map(|&(_, state)| state);
        states.max().unwrap_or(PartitionState::Alive)
    }
}

/// What the kernel knows.
pub(super) struct Kernel<'m> {
    registry: Registry<'m>,
    processes: Processes<'m>,
}

/// Heartbeats, and the kernel for those that are silent: that alone makes nobody gone.
pub(super) struct Silence<'m> {
    registry: Registry<'m>,
    rash: bool,
    heartbeats: Heartbeats<'m, fn() -> Duration>,
    processes: Processes<'m>,
    /// Counts the times that a life was silent and not over.
    doubts: &'m AtomicU32,
    /// The last such time, of each partition.
    doubted: [Option<Instant>; PARTITIONS],
}

impl Silence<'_> {
    fn doubt(&mut self, life: Life) {
        let now = Instant::now();
        let last = &mut self.doubted[usize::from(life.partition()) % PARTITIONS];
        if last.is_none_or(|at| now - at >= heartbeat::LIMIT) {
            self.doubts.fetch_add(1, Relaxed);
        }
        *last = Some(now);
    }
}

impl Liveness for Silence<'_> {
    fn state(&mut self, life: Life) -> PartitionState {
        let said = self.heartbeats.state(life);
        if said == PartitionState::Silent && self.processes.is_gone(life) {
            return PartitionState::Gone;
        }
        if said == PartitionState::Silent {
            self.doubt(life);
        }
        said
    }
}

/// A wait with a deadline.
pub(super) enum Patience {
    Checks(Checks),
    Futex(Futex),
    Looks(SpinYield),
}

impl Patience {
    fn inner(&mut self) -> &mut dyn Wait {
        match self {
            Self::Checks(wait) => wait,
            Self::Futex(wait) => wait,
            Self::Looks(wait) => wait,
        }
    }
}

impl Wait for Patience {
    fn pause(&mut self) -> Pause {
        self.inner().pause()
    }

    fn sleep(&mut self, rings: &AtomicU32, seen: u32) {
        self.inner().sleep(rings, seen);
    }
}

/// So many looks, the last ones with a sleep between them that ends at once.
pub(super) struct Checks(u32);

impl Wait for Checks {
    fn pause(&mut self) -> Pause {
        let Some(left) = self.0.checked_sub(1) else {
            return Pause::TimedOut;
        };
        self.0 = left;
        match left {
            0..SLEEPS => Pause::Sleep,
            _ => Pause::Again,
        }
    }

    fn sleep(&mut self, _: &AtomicU32, _: u32) {}
}
