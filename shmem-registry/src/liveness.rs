//! Liveness across kernels: a heartbeat that stands still is silence.
//!
//! - **H1** A heartbeat is seen to move at a time that is read after it, and stands
//!   still up to a time that is read before it is looked at again: a watcher that is
//!   stopped between two of its own steps makes nobody's silence longer.
//! - **H2** A watcher that did not look for half a limit, or whose clock went back,
//!   knows nothing of that time: everybody's limit starts anew. The limit for silence and
//!   the one for presumed ends ([`Heartbeats::presume_gone_after`]) are two, each by its own
//!   half.
//! - **H3** Only a later incarnation in the slot, or its own word that it left, makes
//!   a partition gone; silence does where the platform said so
//!   ([`Heartbeats::presume_gone_after`]).

use core::time::Duration;

use shmem_core::{Incarnation, Liveness, PartitionState};

use crate::memory::Registry;
use crate::partition::Partition;

/// How long a heartbeat stands still before its partition is silent. With looks as
/// often as [`shmem_core::wait::RECHECK`], silence is noticed within 100 ms.
pub const LIMIT: Duration = Duration::from_millis(60);

/// Partitions beat at least this often to be safe with [`LIMIT`].
pub const BEAT: Duration = Duration::from_millis(10);

/// How often everybody is looked at in the time of one limit.
const SWEEPS: Micros = 4;

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

/// Watches heartbeats: one that stands still for longer than a limit is silent.
///
/// Needs nothing but the region and a clock. The limit starts to run when anybody is
/// first asked about: whoever waits for one asks about nobody else meanwhile, and
/// several may have fallen silent at once. Ask several times in a limit: after a
/// longer pause than half a limit everybody has the whole limit again, because the
/// watcher cannot tell its own absence from theirs.
///
/// Silence takes nothing away from a partition. One that is attached and whose
/// heartbeat stands still for ever stays silent, unless the platform said otherwise.
pub struct Heartbeats<'m, C> {
    registry: Registry<'m>,
    limit: Micros,
    /// How long a partition is silent before it is gone; `None` is for ever.
    gone_after: Option<Micros>,
    clock: C,
    seen: [Option<Seen>; SLOTS],
    /// When all slots were last looked at.
    swept: Option<Micros>,
    /// When anybody was last asked about.
    asked: Option<Micros>,
    /// When the limit for silence last began for everybody (H2).
    silence_from: Micros,
    /// When the limit for presumed ends last began for everybody (H2).
    end_from: Micros,
}

/// Microseconds. With [`Duration`] the code of KMON in U-Boot is 0.8 KB longer.
type Micros = u64;

fn micros(time: Duration) -> Micros {
    let seconds = time.as_secs().saturating_mul(1_000_000);
    seconds.saturating_add(time.subsec_micros().into())
}

/// A heartbeat when it was last seen to move.
#[derive(Clone, Copy)]
struct Seen {
    incarnation: Incarnation,
    heartbeat: u32,
    at: Micros,
}

impl<'m, C: Clock> Heartbeats<'m, C> {
    /// Watches the slots of `registry` by `clock`.
    pub fn by_clock(registry: Registry<'m>, limit: Duration, clock: C) -> Self {
        Self {
            registry,
            limit: micros(limit),
            gone_after: None,
            clock,
            seen: [None; SLOTS],
            swept: None,
            asked: None,
            silence_from: 0,
            end_from: 0,
        }
    }

    /// Takes a partition for gone whose heartbeat stands still for longer than `limit`:
    /// for platforms that have no other way to know, and that would rather go on.
    ///
    /// **A partition that was only slow is robbed by this**, and what it stores when it
    /// goes on can change memory that is others' by then, as far as the step that it
    /// was in. Choose a limit longer than any pause of a partition that comes back: of
    /// a debugger, a snapshot, a suspended machine. A watcher that
    /// is away for more than half of `limit` begins it anew.
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

    /// Looks at everybody, a few times in each limit.
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

    /// Begins the limits anew in which it was away (H2).
    fn note_absence(&mut self, now: Micros) {
        let Some(asked) = self.asked.replace(now) else {
            return;
        };
        let gap = now.checked_sub(asked);
        if gap.is_none() {
            // What was seen has times of another clock.
            self.seen = [None; SLOTS];
            self.swept = None;
        }
        let was_away = |limit: Micros| gap.map_or(true, |gap| gap > limit / 2);
        if was_away(self.limit) {
            self.silence_from = now;
        }
        if self.gone_after.is_some_and(was_away) {
            self.end_from = now;
        }
    }

    /// When this heartbeat of `incarnation` was last seen to move; `now` was read before.
    fn last_moved(&mut self, incarnation: Incarnation, heartbeat: u32, now: Micros) -> Micros {
        let seen = &mut self.seen[usize::from(incarnation.partition() - 1) % SLOTS];
        match seen {
            Some(last) if last.incarnation == incarnation && last.heartbeat == heartbeat => last.at,
            _ => {
                // H1; a clock that went back since is noticed by the next call.
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
    /// Watches the slots of `registry` by this system's clock, with [`LIMIT`].
    pub fn new(registry: Registry<'m>) -> Self {
        Self::with_limit(registry, LIMIT)
    }

    /// As [`Heartbeats::new`] with another limit: how long a partition may be busy
    /// before the others are told that it is silent.
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
    fn state(&mut self, incarnation: Incarnation) -> PartitionState {
        let now = self.now(); // H1
        self.note_absence(now);
        self.sweep(now);
        // A partition that has no slot, or in whose slot nothing sensible stands,
        // has no heartbeat to go by.
        let Ok(slot) = self.registry.partition(incarnation.partition()) else {
            return PartitionState::Alive;
        };
        if let Some(state) = slot.knows_of(incarnation) {
            return state;
        }
        let moved = self.last_moved(incarnation, slot.heartbeat, now);
        let still_since = |from: Micros| now.saturating_sub(moved.max(from));
        let end = self.gone_after;
        if end.is_some_and(|limit| still_since(self.end_from) > limit) {
            PartitionState::Gone
        } else if still_since(self.silence_from) > self.limit {
            PartitionState::Silent
        } else {
            PartitionState::Alive
        }
    }
}

impl Registry<'_> {
    /// What the slots alone say of a partition: gone if it left, or if a later
    /// incarnation of it has attached; alive otherwise.
    pub fn state_in_slot(&self, incarnation: Incarnation) -> PartitionState {
        let slot = self.partition(incarnation.partition());
        let known = slot.ok().and_then(|slot| slot.knows_of(incarnation));
        known.unwrap_or(PartitionState::Alive)
    }
}

impl Partition {
    /// What the slot alone says of `incarnation`; `None` if that one is attached.
    pub(crate) fn knows_of(&self, incarnation: Incarnation) -> Option<PartitionState> {
        match self.incarnation {
            Some(attached) if attached == incarnation => {
                (!self.attached).then_some(PartitionState::Gone)
            }
            Some(attached) => Some(PartitionState::gone_if(attached.follows(incarnation))),
            None => Some(PartitionState::Alive),
        }
    }
}
