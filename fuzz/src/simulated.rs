//! A platform whose clock goes on when it is looked at, and on which a peer stores into the
//! rings of a channel meanwhile.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use shmem_channel::{Error, Platform, Reason};
use shmem_core::ring::Ring;
use shmem_core::{Life, PartitionState, Window};
use shmem_registry::Registry;

use crate::Scribble;

/// Bytes of a ring.
pub const CAPACITY: usize = 256;
/// The longest timeout, in milliseconds.
pub const LONGEST: u8 = 15;

/// How much later it is at each look at the clock.
const TICK: Duration = Duration::from_micros(100);
/// Looks at the clock in one call, at the most: until the longest timeout has passed, and
/// some more.
const LOOKS: u32 = 200;

/// A word that the peer stores into the result ring, or into the command ring.
pub type Stroke = (bool, Scribble);

/// A platform whose clock goes on at each look, at which the peer stores something.
pub struct Simulated<'i, 'm> {
    memory: Window<'m>,
    /// Looks at the clock.
    looks: AtomicU32,
    /// Sleeps, each of a tick.
    sleeps: AtomicU32,
    /// Which partitions are gone.
    over: u32,
    during: &'i [Stroke],
    /// Where the rings are that the peer stores into; 0 if it does not.
    rings: [AtomicUsize; 2],
}

impl<'i, 'm> Simulated<'i, 'm> {
    /// A platform on `memory`, on which `over` says which partitions are gone.
    pub fn new(memory: Window<'m>, over: u32, during: &'i [Stroke]) -> Self {
        Self {
            memory,
            looks: AtomicU32::new(0),
            sleeps: AtomicU32::new(0),
            over,
            during,
            rings: [0, 0].map(AtomicUsize::new),
        }
    }

    /// From now on the peer stores into the rings at these offsets; nowhere if they are 0.
    pub fn begin(&self, rings: [usize; 2]) {
        for (ring, offset) in self.rings.iter().zip(rings) {
            ring.store(offset, Relaxed);
        }
    }

    /// The command ring and the result ring.
    pub fn rings(&self) -> [Window<'m>; 2] {
        let ring = |ring: &AtomicUsize| {
            let segment = self
                .memory
                .sub(ring.load(Relaxed), Ring::segment_len(CAPACITY));
            segment.expect("inside the memory")
        };
        [ring(&self.rings[0]), ring(&self.rings[1])]
    }

    /// The peer stores its word number `at`.
    fn scribble(&self, at: u32) {
        if self.rings[0].load(Relaxed) != 0 && !self.during.is_empty() {
            let (result, scribble) = self.during[at as usize % self.during.len()];
            scribble.apply(self.rings()[usize::from(result)]);
        }
    }
}

impl Platform for Simulated<'_, '_> {
    fn now(&self) -> Duration {
        let looks = self.looks.fetch_add(1, Relaxed);
        // Not at each: what our end does then is seldom undone.
        if looks.is_multiple_of(4) {
            self.scribble(looks / 4);
        }
        TICK * (looks + self.sleeps.load(Relaxed))
    }

    fn sleep(&self, _: &AtomicU32, _: u32, _: Duration) {
        self.sleeps.fetch_add(1, Relaxed);
    }

    fn wake(&self, _: &AtomicU32, _: Reason) {
        self.scribble(self.looks.load(Relaxed));
    }

    fn state(&self, _: &Registry<'_>, partition: Life) -> PartitionState {
        let at = u32::from(partition.partition()) + partition.incarnation();
        match self.over >> (at % 32) & 1 {
            0 => PartitionState::Alive,
            _ => PartitionState::Gone,
        }
    }
}

/// One call of ours, whose clock and whose errors are watched.
pub struct Watched<'p, 'i, 'm> {
    platform: &'p Simulated<'i, 'm>,
    looks: u32,
    begun: Duration,
    /// The timeout that it is given.
    pub timeout: Duration,
}

impl<'p, 'i, 'm> Watched<'p, 'i, 'm> {
    /// A call begins that may take so many milliseconds.
    pub fn begin(platform: &'p Simulated<'i, 'm>, timeout: u8) -> Self {
        Self {
            platform,
            begun: platform.now(),
            looks: platform.looks.load(Relaxed),
            timeout: Duration::from_millis(u64::from(timeout % (LONGEST + 1))),
        }
    }

    /// The call has returned `error`, or none.
    pub fn end(&self, error: Option<&Error>) {
        let looks = self.platform.looks.load(Relaxed) - self.looks;
        assert!(looks < LOOKS, "{looks} looks until {error:?}");
        let Some(error) = error else {
            return;
        };
        assert!(!error.to_string().is_empty());
        let time = self.platform.now() - self.begun;
        let is_early = *error == Error::TimedOut && time < self.timeout;
        assert!(
            !is_early,
            "it timed out after {time:?} of {:?}",
            self.timeout
        );
    }
}
