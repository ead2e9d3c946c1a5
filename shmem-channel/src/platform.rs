//! What a session needs from the hypervisor or operating system that it runs on.

use core::time::Duration;

use shmem_core::doorbell::Doorbell;
use shmem_core::primitive::{spin_loop, AtomicU32};
use shmem_core::{Incarnation, PartitionState};
use shmem_registry::{Process, Registry};

/// A platform, borrowed or shared.
#[derive(Clone)]
pub enum PlatformHandle<'m> {
    /// A platform that outlives the session.
    Borrowed(&'m dyn Platform),
    /// A platform that the session and everything opened in it share.
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
pub enum WakeReason {
    /// There are records for it.
    Records,
    /// There is space for its records.
    Space,
    /// A lock that it waits for was released.
    Lock,
}

/// The services of a platform: a clock, sleeping and waking, and knowledge about other partitions.
/// A hypervisor or an operating system implements them.
pub trait Platform: Sync {
    /// Returns the time since a fixed moment. It never goes back.
    fn now(&self) -> Duration;

    /// Sleeps until a peer wakes this partition, at most for `longest`. It may return at any time;
    /// a platform that cannot sleep returns at once.
    ///
    /// `ring_count` is a word in shared memory that changes when a peer rings the doorbell. A sleep
    /// by futex or `WFE` must begin only if the word is still `seen`: compare the two as they are,
    /// without changing the byte order.
    fn sleep(&self, ring_count: &AtomicU32, seen: u32, longest: Duration);

    /// Wakes the peer that sleeps on `ring_count`, by an interrupt, a hypercall or a futex. The
    /// peer must then see everything that this partition stored before this call. Does nothing if
    /// peers poll. A platform with one interrupt for every reason ignores `reason`.
    fn wake(&self, ring_count: &AtomicU32, reason: WakeReason);

    /// Wakes all peers that sleep on `ring_count`: several can wait for one lock. The default calls
    /// [`Platform::wake`].
    fn wake_all(&self, ring_count: &AtomicU32, reason: WakeReason) {
        self.wake(ring_count, reason);
    }

    /// Returns what is known about an incarnation of another partition in `registry`.
    ///
    /// The default uses only the partition's slot in the region ([`Registry::state_in_slot`]). A
    /// partition that was killed is then alive until its next incarnation joins.
    fn state(&self, registry: &Registry<'_>, incarnation: Incarnation) -> PartitionState {
        registry.state_in_slot(incarnation)
    }

    /// Returns true to end every wait now, as if its deadline had passed: on Ctrl-C, or at a
    /// shutdown. Called before each sleep.
    fn is_interrupted(&self) -> bool {
        false
    }

    /// Returns how peers on the same kernel identify this partition.
    fn process(&self) -> Process {
        Process::UNKNOWN
    }
}

/// A platform without sleep, timer interrupts and doorbells: both ends poll. For firmware, and for
/// peers with processors of their own.
///
/// `C` is the clock: it returns the time since a fixed moment and never goes back.
#[derive(Clone, Copy, Debug)]
pub struct SpinPlatform<C>(pub C);

impl<C: Fn() -> Duration + Sync> Platform for SpinPlatform<C> {
    fn now(&self) -> Duration {
        (self.0)()
    }

    fn sleep(&self, _: &AtomicU32, _: u32, _: Duration) {
        spin_loop();
    }

    fn wake(&self, _: &AtomicU32, _: WakeReason) {}
}

/// A platform's doorbell for locks.
pub(crate) struct LockBell<'m>(pub(crate) PlatformHandle<'m>);

impl Doorbell for LockBell<'_> {
    fn ring(&self, ring_count: &AtomicU32) {
        self.0.get().wake(ring_count, WakeReason::Lock);
    }

    fn ring_all(&self, ring_count: &AtomicU32) {
        self.0.get().wake_all(ring_count, WakeReason::Lock);
    }
}

/// A platform's doorbell for a ring.
pub(crate) struct Bell<'p>(pub(crate) &'p dyn Platform, pub(crate) WakeReason);

impl Doorbell for Bell<'_> {
    fn ring(&self, ring_count: &AtomicU32) {
        self.0.wake(ring_count, self.1);
    }
}
