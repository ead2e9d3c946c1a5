//! Liveness across kernels: a heartbeat that stands still.

use core::time::Duration;

use shmem_core::Life;
use shmem_sync::Liveness;

use crate::table::Registry;

/// How long a heartbeat stands still before its life is over. With looks as
/// often as [`shmem_core::wait::RECHECK`], a death is noticed within 100 ms.
pub const LIMIT: Duration = Duration::from_millis(60);

/// Partitions beat at least this often to be safe with [`LIMIT`].
pub const BEAT: Duration = Duration::from_millis(10);

/// How often everybody is looked at in the time of one limit.
const SWEEPS: u32 = 4;

/// The most partitions that a registry has slots for.
const SLOTS: usize = 128;

/// The time since some fixed moment.
pub trait Clock {
    /// Now.
    fn now(&mut self) -> Duration;
}

impl<F: FnMut() -> Duration> Clock for F {
    fn now(&mut self) -> Duration {
        self()
    }
}

/// Takes a life for over that another has followed, that has left, or whose
/// heartbeat stands still for longer than a limit.
///
/// Needs nothing but the region and a clock. The limit starts to run when anybody is first asked about: whoever
/// waits for one asks about nobody else meanwhile, and several may have died at once.
pub struct Heartbeats<'m, C> {
    registry: Registry<'m>,
    limit: Duration,
    /// How long until everybody is looked at again.
    sweep: Duration,
    clock: C,
    seen: [Option<Seen>; SLOTS],
    /// When all slots were last looked at.
    swept: Option<Duration>,
}

/// A heartbeat when it was last seen to move.
#[derive(Clone, Copy)]
struct Seen {
    life: Life,
    heartbeat: u32,
    at: Duration,
}

impl<'m, C: Clock> Heartbeats<'m, C> {
    /// Watches the slots of `registry` by `clock`.
    pub fn by_clock(registry: Registry<'m>, limit: Duration, clock: C) -> Self {
        Self {
            registry,
            limit,
            sweep: limit / SWEEPS,
            clock,
            seen: [None; SLOTS],
            swept: None,
        }
    }

    /// Looks at everybody, a few times in each limit.
    fn sweep(&mut self, now: Duration) {
        let is_recent = |swept| now.saturating_sub(swept) < self.sweep;
        if self.swept.is_some_and(is_recent) {
            return;
        }
        self.swept = Some(now);
        for partition in 1..=self.registry.geometry().partitions as u8 {
            if let Ok(slot) = self.registry.partition(partition) {
                if let (Some(life), true) = (slot.life, slot.attached) {
                    self.stands_since(life, slot.heartbeat, now);
                }
            }
        }
    }

    /// Since when this heartbeat of `life` has not been seen to move.
    fn stands_since(&mut self, life: Life, heartbeat: u32, now: Duration) -> Duration {
        let seen = &mut self.seen[usize::from(life.partition() - 1) % SLOTS];
        match seen {
            Some(last) if last.life == life && last.heartbeat == heartbeat => last.at,
            _ => {
                *seen = Some(Seen {
                    life,
                    heartbeat,
                    at: now,
                });
                now
            }
        }
    }
}

#[cfg(feature = "std")]
impl<'m> Heartbeats<'m, fn() -> Duration> {
    /// Watches the slots of `registry` by this system's clock, with [`LIMIT`].
    pub fn new(registry: Registry<'m>) -> Self {
        Self::with_limit(registry, LIMIT)
    }

    /// As [`Heartbeats::new`] with another limit: longer than any pause of a
    /// partition that lives.
    pub fn with_limit(registry: Registry<'m>, limit: Duration) -> Self {
        Self::by_clock(registry, limit, uptime)
    }
}

/// The time since this was first called.
#[cfg(feature = "std")]
fn uptime() -> Duration {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    START.get_or_init(std::time::Instant::now).elapsed()
}

impl<C: Clock> Liveness for Heartbeats<'_, C> {
    fn is_over(&mut self, life: Life) -> bool {
        let now = self.clock.now();
        self.sweep(now);
        // A life without a slot, or in a slot that holds none, is nobody's.
        let Ok(slot) = self.registry.partition(life.partition()) else {
            return true;
        };
        if slot.life != Some(life) || !slot.attached {
            return true;
        }
        now.saturating_sub(self.stands_since(life, slot.heartbeat, now)) > self.limit
    }
}
