//! Liveness across kernels: a partition whose heartbeat stands still is silent.
//!
//! - **H1** The clock is read after a heartbeat was loaded with a new value, and before it is
//!   loaded again. So a watcher that is stopped between two of its own steps makes no partition's
//!   silence longer.
//! - **H2** A watcher that made no check for half a limit, or whose clock went back, knows nothing
//!   of that time: every partition has the whole limit again. This holds separately for two limits:
//!   the one for silence and the one after which a partition is presumed gone
//!   ([`Heartbeats::presume_gone_after`]).
//! - **H3** A partition is gone only if a later incarnation is in the slot, or its own word there
//!   shows that it left. Silence makes it gone only if the platform decided so
//!   ([`Heartbeats::presume_gone_after`]).

use core::time::Duration;

use shmem_core::{Incarnation, Liveness, PartitionState};

use crate::memory::Registry;
use crate::partition::Partition;

/// How long a heartbeat stands still before its partition is silent. With a check every
/// [`shmem_core::wait::RECHECK`], silence is reported within 100 ms.
pub const SILENCE_LIMIT: Duration = Duration::from_millis(60);

/// The longest time between two beats that is safe with [`SILENCE_LIMIT`].
pub const BEAT_INTERVAL: Duration = Duration::from_millis(10);

/// How often all partitions are checked within one limit.
const SWEEPS: Micros = 4;

/// The most partitions that a registry has slots for.
const SLOTS: usize = 128;

/// The time since some fixed moment.
pub trait Clock {
    /// Returns the current time.
    fn now(&mut self) -> Duration;
}

impl<F: FnMut() -> Duration> Clock for F {
    fn now(&mut self) -> Duration {
        self()
    }
}

/// Watches heartbeats: a partition whose heartbeat stands still for longer than a limit is silent.
///
/// Needs only the region and a clock. The limit of every partition starts at the first call of
/// `state`, whichever partition that call is about. Call `state` several times within a limit.
/// After a pause of more than half a limit every partition has the whole limit again, because the
/// watcher cannot distinguish its own absence from theirs.
///
/// A silent partition loses nothing. A partition that is attached and whose heartbeat never moves
/// again stays silent, unless the platform decided otherwise.
pub struct Heartbeats<'m, C> {
    registry: Registry<'m>,
    limit: Micros,
    /// How long a heartbeat stands still before its partition is presumed gone; `None`: never.
    gone_after: Option<Micros>,
    clock: C,
    seen: [Option<Seen>; SLOTS],
    /// When all slots were last checked.
    swept: Option<Micros>,
    /// When the state of a partition was last requested.
    asked: Option<Micros>,
    /// When the limit for silence last began for all partitions (H2).
    silence_from: Micros,
    /// When the limit for presuming a partition gone last began for all partitions (H2).
    gone_from: Micros,
}

/// Microseconds. With [`Duration`] the code of KMON in U-Boot is 0.8 KB longer.
type Micros = u64;

fn micros(time: Duration) -> Micros {
    let seconds = time.as_secs().saturating_mul(1_000_000);
    seconds.saturating_add(time.subsec_micros().into())
}

/// The last heartbeat that was seen to move.
#[derive(Clone, Copy)]
struct Seen {
    incarnation: Incarnation,
    heartbeat: u32,
    at: Micros,
}

impl<'m, C: Clock> Heartbeats<'m, C> {
    /// Returns a watcher of the slots of `registry` that uses `clock`.
    pub fn with_clock(registry: Registry<'m>, limit: Duration, clock: C) -> Self {
        Self {
            registry,
            limit: micros(limit),
            gone_after: None,
            clock,
            seen: [None; SLOTS],
            swept: None,
            asked: None,
            silence_from: 0,
            gone_from: 0,
        }
    }

    /// Presumes that a partition is gone if its heartbeat stands still for longer than `limit`: for
    /// platforms that have no other way to know, and that prefer to continue.
    ///
    /// **A partition that was only slow loses what it holds.** When it continues, it may change
    /// memory that belongs to others by then, during the step that it was executing. Choose a limit
    /// longer than any pause of a partition that comes back: in a debugger, during a snapshot of
    /// its machine, or while its machine is suspended. If the watcher makes no check for more than
    /// half of `limit`, the limit starts again.
    #[must_use]
    pub fn presume_gone_after(self, limit: Duration) -> Self {
        Self {
            gone_after: Some(micros(limit).max(self.limit)),
            ..self
        }
    }

    fn now(&mut self) -> Micros {
        micros(self.clock.now())
    }

    /// Checks all partitions, a few times within each limit.
    fn sweep(&mut self, now: Micros) {
        let is_recent = |swept: Micros| now.saturating_sub(swept) < self.limit / SWEEPS;
        if self.swept.is_some_and(is_recent) {
            return;
        }
        self.swept = Some(now);
        for partition in 1..=self.registry.geometry().partitions as u8 {
            if let Ok(slot) = self.registry.partition(partition) {
                if let (Some(incarnation), true) = (slot.incarnation, slot.attached) {
                    self.last_moved(incarnation, slot.heartbeat, now);
                }
            }
        }
    }

    /// Starts each limit again of which the watcher missed more than half (H2).
    fn note_absence(&mut self, now: Micros) {
        let Some(asked) = self.asked.replace(now) else {
            return;
        };
        let gap = now.checked_sub(asked);
        if gap.is_none() {
            // The saved times are not comparable with the present time.
            self.seen = [None; SLOTS];
            self.swept = None;
        }
        let was_away = |limit: Micros| gap.map_or(true, |gap| gap > limit / 2);
        if was_away(self.limit) {
            self.silence_from = now;
        }
        if self.gone_after.is_some_and(was_away) {
            self.gone_from = now;
        }
    }

    /// Returns when the heartbeat of `incarnation` was last seen to move. The caller read `now`
    /// before `heartbeat`.
    fn last_moved(&mut self, incarnation: Incarnation, heartbeat: u32, now: Micros) -> Micros {
        let seen = &mut self.seen[usize::from(incarnation.partition() - 1) % SLOTS];
        match seen {
            Some(last) if last.incarnation == incarnation && last.heartbeat == heartbeat => last.at,
            _ => {
                // H1. If the clock went back since, the next call detects it.
                let at = micros(self.clock.now()).max(now);
                *seen = Some(Seen {
                    incarnation,
                    heartbeat,
                    at,
                });
                at
            }
        }
    }
}

#[cfg(feature = "std")]
impl<'m> Heartbeats<'m, fn() -> Duration> {
    /// Returns a watcher of the slots of `registry` that uses the system's clock and
    /// [`SILENCE_LIMIT`].
    pub fn new(registry: Registry<'m>) -> Self {
        Self::with_limit(registry, SILENCE_LIMIT)
    }

    /// As [`Heartbeats::new`], with another limit: how long a heartbeat stands still before its
    /// partition is reported as silent.
    pub fn with_limit(registry: Registry<'m>, limit: Duration) -> Self {
        Self::with_clock(registry, limit, uptime)
    }
}

/// Returns the time since its first call.
#[cfg(feature = "std")]
fn uptime() -> Duration {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    START.get_or_init(std::time::Instant::now).elapsed()
}

impl<C: Clock> Liveness for Heartbeats<'_, C> {
    fn state(&mut self, incarnation: Incarnation) -> PartitionState {
        let now = self.now(); // H1
        self.note_absence(now);
        self.sweep(now);
        // If a partition has no slot, or its slot is corrupt, there is no heartbeat to check.
        let Ok(slot) = self.registry.partition(incarnation.partition()) else {
            return PartitionState::Alive;
        };
        if let Some(state) = slot.state_of(incarnation) {
            return state;
        }
        let moved = self.last_moved(incarnation, slot.heartbeat, now);
        let still_since = |from: Micros| now.saturating_sub(moved.max(from));
        let end = self.gone_after;
        if end.is_some_and(|limit| still_since(self.gone_from) > limit) {
            PartitionState::Gone
        } else if still_since(self.silence_from) > self.limit {
            PartitionState::Silent
        } else {
            PartitionState::Alive
        }
    }
}

impl Registry<'_> {
    /// Returns what the partition's slot alone shows: gone if `incarnation` left or a later one has
    /// attached, otherwise alive.
    pub fn state_in_slot(&self, incarnation: Incarnation) -> PartitionState {
        let slot = self.partition(incarnation.partition());
        let known = slot.ok().and_then(|slot| slot.state_of(incarnation));
        known.unwrap_or(PartitionState::Alive)
    }
}

impl Partition {
    /// Returns what the slot alone shows about `incarnation`; `None` if it is attached.
    pub(crate) fn state_of(&self, incarnation: Incarnation) -> Option<PartitionState> {
        match self.incarnation {
            Some(attached) if attached == incarnation => {
                (!self.attached).then_some(PartitionState::Gone)
            }
            Some(attached) => Some(PartitionState::from_is_gone(attached.follows(incarnation))),
            None => Some(PartitionState::Alive),
        }
    }
}
