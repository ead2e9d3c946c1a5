//! What a partition needs from where it runs.

use core::time::Duration;

use shmem_core::doorbell::Doorbell;
use shmem_core::primitive::{spin_loop, AtomicU32};
use shmem_core::{Incarnation, PartitionState};
use shmem_registry::{Process, Registry};

/// A platform that is borrowed, or shared.
#[derive(Clone)]
pub enum PlatformHandle<'m> {
    /// Borrowed: the platform outlives the session.
    Borrowed(&'m dyn Platform),
    /// Shared by everything in the session.
    #[cfg(feature = "linux")]
    Shared(std::sync::Arc<dyn Platform + Send + 'm>),
}

impl PlatformHandle<'_> {
    pub(crate) fn get(&self) -> &dyn Platform {
        match self {
            Self::Borrowed(platform) => *platform,
            #[cfg(feature = "linux")]
            Self::Shared(platform) => &**platform,
        }
    }
}

impl<'m, P: Platform> From<&'m P> for PlatformHandle<'m> {
    fn from(platform: &'m P) -> Self {
        Self::Borrowed(platform)
    }
}

#[cfg(feature = "linux")]
impl<'m, P: Platform + Send + 'm> From<std::sync::Arc<P>> for PlatformHandle<'m> {
    fn from(platform: std::sync::Arc<P>) -> Self {
        Self::Shared(platform)
    }
}

/// Why a peer is woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// There are records for it.
    Records,
    /// There is room for its records.
    Room,
    /// A lock that it waits for was released.
    Lock,
}

/// The clock, the sleep, the doorbell and the knowledge of ends that a platform gives a
/// partition: what a hypervisor or an operating system has to implement.
pub trait Platform: Sync {
    /// The time since some fixed moment. It never goes back.
    fn now(&self) -> Duration;

    /// Sleeps until a peer wakes this partition, for `longest` at most. It may return at
    /// any time; a platform that cannot sleep returns at once.
    ///
    /// `rings` changes when a peer rings: a sleep by futex or `WFE` begins only while its
    /// value is `seen`.
    fn sleep(&self, rings: &AtomicU32, seen: u32, longest: Duration);

    /// Wakes the peer that sleeps on `rings`, for `reason`, after everything that this
    /// partition stored before: an interrupt, a hypercall, a futex. Nothing where peers
    /// poll. A platform with one interrupt for all does not look at the reason.
    fn wake(&self, rings: &AtomicU32, reason: Reason);

    /// As [`Platform::wake`], for all that sleep on `rings`: several can wait for one lock.
    fn wake_all(&self, rings: &AtomicU32, reason: Reason) {
        self.wake(rings, reason);
    }

    /// What is known of another partition in `registry`. Without an implementation: what
    /// its slot says, so that a partition that was killed counts as alive until its next
    /// incarnation joins.
    fn state(&self, registry: &Registry<'_>, partition: Incarnation) -> PartitionState {
        registry.state_in_slot(partition)
    }

    /// Whether every wait is to end now, as if its time were over: an operator's Ctrl-C, a
    /// shutdown. Asked before each sleep.
    fn is_interrupted(&self) -> bool {
        false
    }

    /// How peers on the same kernel can know this partition.
    fn process(&self) -> Process {
        Process::UNKNOWN
    }
}

/// A platform without sleep, clock interrupts and doorbell: both ends look again and
/// again. For firmware, and for peers on processors of their own.
///
/// `C` gives the time since some fixed moment.
#[derive(Clone, Copy, Debug)]
pub struct Spinning<C>(pub C);

impl<C: Fn() -> Duration + Sync> Platform for Spinning<C> {
    fn now(&self) -> Duration {
        (self.0)()
    }

    fn sleep(&self, _: &AtomicU32, _: u32, _: Duration) {
        spin_loop();
    }

    fn wake(&self, _: &AtomicU32, _: Reason) {}
}

/// A platform's doorbell for locks.
pub(crate) struct LockBell<'m>(pub(crate) PlatformHandle<'m>);

impl Doorbell for LockBell<'_> {
    fn ring(&self, rings: &AtomicU32) {
        self.0.get().wake(rings, Reason::Lock);
    }

    fn ring_all(&self, rings: &AtomicU32) {
        self.0.get().wake_all(rings, Reason::Lock);
    }
}

/// A platform's doorbell for a ring.
pub(crate) struct Bell<'p>(pub(crate) &'p dyn Platform, pub(crate) Reason);

impl Doorbell for Bell<'_> {
    fn ring(&self, rings: &AtomicU32) {
        self.0.wake(rings, self.1);
    }
}
