//! Barrier: partitions that go on when all of them have arrived.
//!
//! Each partition has an entry, in which it says at which phase it has arrived;
//! everybody counts the entries. Loads, stores and fences only.
//!
//! - **B1** Only a partition's own incarnation stores its entry: first `incarnation`, then
//!   `arrived`.
//! - **B2** A partition arrives at the phase after the one it has passed. One that
//!   has just come, perhaps after a restart, arrives at the newest phase that
//!   anybody has arrived at, or at the one after it if that one is complete.
//! - **B3** A phase is complete when as many entries as there are parties have arrived at
//!   it or at the next one, where nobody is who has not passed it.
//! - **B4** Phases count from 1, and from 2^32 - 1 on to 1 again; 0 is before the first.
//! - **B5** Who sees on arrival that the phase is complete looks for flags in `incarnation`, and
//!   if there are any stores in `rings` what nobody has stored there before, and rings.
//!   Who sleeps has set its flag before it counted for the last time.
//! - **B6** `phase` is for inspection alone.
//! - **B7** Before it stores anything in its entry an incarnation looks whether a later one of its
//!   partition has. One that was said to be gone while it lived can thus leave at most what one
//!   arrival, or one falling asleep, stores: until the later incarnation looks or arrives again,
//!   which puts that right, it is missed, or the others are told that the earlier one died.
//!
//! ```text
//!   sleeper                       last to arrive
//!   seen = rings                  arrived = p
//!   incarnation = l + flag               fence(SeqCst)
//!   fence(SeqCst)                 all arrived? a flag?
//!   all arrived? -> go on         -> rings = its number and p
//!   rings == seen? -> sleep          ring
//! ```
//!
//! The fences of all arrivals and of the sleepers have one order. Whoever's arrival
//! comes last in it counts them all. A sleeper's fence comes before that one, and
//! its flag is seen; or behind it, and the sleeper counts them all.
//!
//! | store                 | paired load            | hands over              |
//! |-----------------------|------------------------|-------------------------|
//! | `arrived` in `arrive` | `arrived` in `arrived` | what a party did before |
//!
//! One that dies between arriving and ringing costs those that sleep at most one
//! [`RECHECK`](shmem_core::wait::RECHECK). B1 binds honest partitions: a hostile one
//! that may write the segment can let others pass early, or hold them until their
//! deadline. `tests/loom_barrier.rs` has the models.

mod error;

pub use error::{BarrierAttachError, BarrierError};

use core::mem::size_of;

use memoffset::offset_of;
use shmem_core::mem::Word;
use shmem_core::primitive::{
    fence,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
};
use shmem_core::wait::{Pause, Wait};
use shmem_core::{ControlWord, Corrupt, Incarnation, Window};

use crate::layout::{BarrierControl, BarrierEntry};
use crate::raw::DoorbellRef;
use crate::{Liveness, PartitionState};

const CONTROL: usize = size_of::<BarrierControl>();
const ENTRY: usize = size_of::<BarrierEntry>();

/// A barrier, as one incarnation of a partition meets the others at it.
///
/// It is for a fixed set of partitions, as many as `parties`, one handle each. One
/// that dies is missed until its next incarnation arrives in its stead, and one that is silent
/// is waited for; see
/// [`Barrier::wait`]. It needs no read-modify-write.
///
/// # Examples
///
/// ```
/// use shmem_core::doorbell::Silent;
/// use shmem_core::{mem::Heap, wait::Spin, Incarnation};
/// use shmem_sync::{Barrier, AssumeAlive};
///
/// let heap = Heap::new(Barrier::segment_len(2));
/// let party = |partition| {
///     // SAFETY: the only handle of this partition.
///     let barrier = unsafe { Barrier::attach(heap.window(), Incarnation::first(partition), 2, &Silent) };
///     let mut barrier = barrier?;
///     barrier.wait(&mut Spin::forever(), &mut AssumeAlive).map_err(Box::<dyn std::error::Error>::from)
/// };
/// std::thread::scope(|scope| {
///     let other = scope.spawn(move || party(2).unwrap());
///     assert!(party(1).unwrap().leader != other.join().unwrap().leader);
/// });
/// ```
pub struct Barrier<'m> {
    segment: Window<'m>,
    entries: usize,
    parties: usize,
    incarnation: Incarnation,
    bell: DoorbellRef<'m>,
    /// The phase we arrived at last, whatever our entry says.
    phase: u32,
    /// Whether we have yet to pass it.
    pending: bool,
}

/// That a phase is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The phase.
    pub phase: u32,
    /// Whether our partition has the lowest number of all that arrived: so for one of them.
    pub leader: bool,
}

impl<'m> Barrier<'m> {
    /// Bytes of a segment whose barrier has room for partitions with numbers up to
    /// `partitions`.
    pub const fn segment_len(partitions: u8) -> usize {
        CONTROL + partitions as usize * ENTRY
    }

    /// The barrier of `parties` partitions in `segment`, used by `incarnation`, which rings
    /// `bell` for those that wait. A zeroed segment is a barrier that nobody has
    /// passed.
    ///
    /// # Errors
    ///
    /// [`BarrierAttachError`] if the segment has no entry for the partition, or not so
    /// many entries, or there are no parties.
    ///
    /// # Safety
    ///
    /// No other handle of `incarnation` on this barrier is used from now on: a partition has one
    /// entry, so two handles of one incarnation let the others pass early. By loads and stores
    /// alone, two that attach at the same time cannot find each other.
    pub unsafe fn attach(
        segment: Window<'m>,
        incarnation: Incarnation,
        parties: usize,
        bell: DoorbellRef<'m>,
    ) -> Result<Self, BarrierAttachError> {
        let entries = segment.len().saturating_sub(CONTROL) / ENTRY;
        let entries = entries.min(u8::MAX.into());
        let partition = incarnation.partition();
        if usize::from(partition) > entries {
            return Err(BarrierAttachError::NoEntry { partition, entries });
        }
        if parties == 0 || parties > entries {
            return Err(BarrierAttachError::Parties { parties, entries });
        }
        Ok(Self {
            segment,
            entries,
            parties,
            incarnation,
            bell,
            phase: 0,
            pending: false,
        })
    }

    /// Rings `bell` from now on.
    pub fn set_bell(&mut self, bell: DoorbellRef<'m>) {
        self.bell = bell;
    }

    /// Arrives, and waits for the others until the deadline of `wait`; one that has
    /// passed leaves time for one look.
    ///
    /// After an error we have arrived nevertheless: the next call waits on, and says
    /// so if the phase has become complete meanwhile.
    ///
    /// # Errors
    ///
    /// [`BarrierError::PartyDied`] if a party that was at the phase before is over and has not
    /// arrived at this one: wait again if it restarts, with [`crate::AssumeAlive`] so
    /// as not to be told again. Nobody knows of a party that never
    /// arrived anywhere: for that there is the deadline.
    /// [`BarrierError::TimedOut`] at the deadline, or [`BarrierError::PartySilent`] if a
    /// party that was at the phase before is silent then; [`BarrierError::Evicted`] if a
    /// later incarnation of this partition takes part; [`BarrierError::Corrupt`] if a partition
    /// broke the protocol.
    pub fn wait<W: Wait, L: Liveness>(
        &mut self,
        wait: &mut W,
        liveness: &mut L,
    ) -> Result<Arrival, BarrierError> {
        let mut late = false;
        loop {
            match self.step(liveness)? {
                Step::Passed(arrival) => return Ok(arrival),
                Step::Waiting(Some(silent)) if late => {
                    return Err(BarrierError::PartySilent(silent))
                }
                Step::Waiting(None) if late => return Err(BarrierError::TimedOut),
                Step::Waiting(_) => {}
            }
            match wait.pause() {
                Pause::Again => {}
                Pause::TimedOut => late = true,
                Pause::Sleep => {
                    let seen = self.arm();
                    if self.look_unless_evicted()?.is_none() {
                        wait.sleep(self.rings().as_atomic(), seen.to_le());
                    }
                }
            }
        }
    }

    /// Arrives if that is still to be done, and says whether all others have; `None`
    /// if not. Call it again, or [`Barrier::wait`].
    ///
    /// # Errors
    ///
    /// As [`Barrier::wait`], but for the deadline.
    pub fn try_wait<L: Liveness>(
        &mut self,
        liveness: &mut L,
    ) -> Result<Option<Arrival>, BarrierError> {
        Ok(match self.step(liveness)? {
            Step::Passed(arrival) => Some(arrival),
            Step::Waiting(_) => None,
        })
    }

    fn step<L: Liveness>(&mut self, liveness: &mut L) -> Result<Step, BarrierError> {
        self.check_entry()?;
        let arriving = !self.pending;
        if arriving {
            self.phase = match self.phase {
                0 => self.join(),
                passed => after(passed),
            };
            self.pending = true;
        }
        if arriving || !self.shows_arrival() {
            self.arrive()?;
        }
        if let Some(leader) = self.look_unless_evicted()? {
            self.pending = false;
            if arriving {
                self.wake();
                // Stopped in it, we may have been said to be gone since.
                self.look_unless_evicted()?;
            }
            return Ok(Step::Passed(Arrival {
                phase: self.phase,
                leader,
            }));
        }
        match self.missed(liveness)? {
            Some((incarnation, PartitionState::Gone)) => Err(BarrierError::PartyDied(incarnation)),
            silent => Ok(Step::Waiting(silent.map(|(incarnation, _)| incarnation))),
        }
    }

    /// An error if a later incarnation of our partition uses our entry (B7).
    fn check_entry(&self) -> Result<(), BarrierError> {
        match self.party(self.own())? {
            Some(incarnation) if incarnation.follows(self.incarnation) => {
                Err(BarrierError::Evicted)
            }
            _ => Ok(()),
        }
    }

    /// Who stored the entry at `at`, if anybody.
    fn party(&self, at: usize) -> Result<Option<Incarnation>, Corrupt> {
        // relaxed: of another, as new as its arrival, by the Acquire in `arrived`; of our own,
        // who finds a later incarnation late stores what B7 allows.
        let value = self.incarnation_of(at).load(Relaxed);
        match Incarnation::from_word(value) {
            Some(incarnation) if usize::from(incarnation.partition()) == at + 1 => {
                Ok(Some(incarnation))
            }
            None if value == 0 => Ok(None),
            _ => Err(bad_incarnation(value)),
        }
    }

    /// Whether our entry is as we left it (B7).
    // relaxed in all of this: the entry is ours alone, or a later incarnation's, which is found in
    // time or one call late (B7).
    fn shows_arrival(&self) -> bool {
        let incarnation = self.incarnation_of(self.own()).load(Relaxed) & !Incarnation::FLAG;
        let arrived = self.arrival_of(self.own()).load(Relaxed);
        (incarnation, arrived) == (self.incarnation.word(), self.phase)
    }

    /// Stores our arrival at the phase.
    fn arrive(&self) -> Result<(), BarrierError> {
        // Without the flag: awake.
        // relaxed: the store of `arrived` below publishes it.
        self.incarnation_of(self.own())
            .store(self.incarnation.word(), Relaxed);
        // A later incarnation was here, and that store was late (B7).
        // relaxed: finds our own store or a later one; if a later incarnation's is not seen yet, one
        // arrival more is stored (B7).
        if self.is_ahead(self.arrival_of(self.own()).load(Relaxed)) {
            return Err(BarrierError::Evicted);
        }
        // Release: pairs with the load in `arrived`; hands over what we did, and `incarnation`.
        // loom: loom_barrier::what_was_done_before_a_phase_is_seen_after_it_and_not_touched_before
        self.arrival_of(self.own()).store(self.phase, Release);
        // Pairs with itself in the others, and with the fence in `arm`: `arrived`
        // stored before it and the count behind it must not pass each other.
        // loom: loom_barrier::a_sleeper_is_woken_by_the_arrival_it_missed
        fence(SeqCst);
        Ok(())
    }

    /// The phase to arrive at without having passed one (B2).
    fn join(&self) -> u32 {
        let (mut newest, mut count) = (0, 0);
        for at in 0..self.entries {
            // Acquire: pairs with the store in `arrive`; who sees our arrival sees those that we
            // go by. An old value is as good as having come a little earlier.
            // loom: none (only which error an evicted party is told depends on it)
            let found = self.arrival_of(at).load(Acquire);
            if found != 0 && (newest == 0 || is_behind(newest, found)) {
                (newest, count) = (found, 0);
            }
            count += usize::from(found == newest);
        }
        match newest != 0 && count < self.parties {
            true => newest,
            false => after(newest),
        }
    }

    /// Whether the phase is complete (B3): then, whether we lead.
    fn look(&self) -> Result<Option<bool>, Corrupt> {
        let (mut count, mut leader) = (0, None);
        for at in 0..self.entries {
            if self.has_arrived(at)? {
                leader = leader.or(Some(at));
                count += 1;
                if count == self.parties {
                    return Ok(Some(leader == Some(self.own())));
                }
            }
        }
        Ok(None)
    }

    /// As [`Barrier::look`]; evicted if the others have gone on, which they cannot without us
    /// unless we were said to be gone.
    fn look_unless_evicted(&self) -> Result<Option<bool>, BarrierError> {
        self.look().map_err(|corrupt| match self.others_went_on() {
            true => BarrierError::Evicted,
            false => BarrierError::Corrupt(corrupt),
        })
    }

    /// Whether all the others have arrived at later phases than ours: with a later incarnation of
    /// our partition in our place, or with another partition.
    fn others_went_on(&self) -> bool {
        // relaxed: after the Acquire in `arrived` that found one ahead by two phases, which
        // shows all that this one has seen arrive.
        let is_ahead = |&at: &usize| self.is_ahead(self.arrival_of(at).load(Relaxed));
        let others = (0..self.entries).filter(|&at| at != self.own());
        others.filter(is_ahead).count() + 1 >= self.parties
    }

    /// Whether an arrival is at a later phase than ours.
    fn is_ahead(&self, arrived: u32) -> bool {
        arrived != 0 && is_behind(self.phase, arrived)
    }

    fn has_arrived(&self, at: usize) -> Result<bool, Corrupt> {
        let value = self.arrived(at);
        if value == self.phase || value == after(self.phase) {
            return Ok(true);
        }
        if self.is_ahead(value) {
            let word = ControlWord::BarrierArrived;
            return Err(Corrupt { word, value });
        }
        Ok(false)
    }

    fn arrived(&self, at: usize) -> u32 {
        if at == self.own() {
            return self.phase;
        }
        // Acquire: pairs with the store in `arrive`; what that party did is seen.
        // loom: loom_barrier::what_was_done_before_a_phase_is_seen_after_it_and_not_touched_before
        self.arrival_of(at).load(Acquire)
    }

    /// A party that we wait for in vain: one that is gone, or else one that is silent.
    fn missed<L: Liveness>(
        &self,
        liveness: &mut L,
    ) -> Result<Option<(Incarnation, PartitionState)>, Corrupt> {
        let mut silent = None;
        let missing = |at| {
            let last = self.arrived(at);
            last != 0 && after(last) == self.phase
        };
        for at in (0..self.entries).filter(|&at| at != self.own()) {
            if !missing(at) {
                continue;
            }
            let incarnation = self.party(at)?.ok_or(bad_incarnation(0))?;
            let state = liveness.state(incarnation);
            // It may have arrived before it died.
            match state {
                PartitionState::Gone if missing(at) => return Ok(Some((incarnation, state))),
                PartitionState::Silent => silent = silent.or(Some((incarnation, state))),
                _ => {}
            }
        }
        Ok(silent)
    }

    /// Asks to be rung when the phase is complete. What to sleep on.
    fn arm(&self) -> u32 {
        // relaxed: the fence orders it before the store of whoever answers the flag, which
        // stores what was not there before.
        let seen = self.rings().load(Relaxed);
        let sleepy = self.incarnation.word() | Incarnation::FLAG;
        // relaxed: the fence orders it before the count of the arrivals.
        self.incarnation_of(self.own()).store(sleepy, Relaxed);
        // Pairs with the fence in `arrive`: the flag stored before it and the count
        // behind it must not pass each other.
        // loom: loom_barrier::a_sleeper_is_woken_by_the_arrival_it_missed
        fence(SeqCst);
        seen
    }

    /// Wakes who sleeps for the phase, which was complete when we had arrived (B5).
    fn wake(&self) {
        let phase = self.segment.word(offset_of!(BarrierControl, phase));
        // relaxed: for inspection alone (B6).
        phase.store(self.phase, Relaxed);
        // relaxed: after the fence in `arrive`, which shows the flag of whoever may sleep.
        let sleepy = |at| self.incarnation_of(at).load(Relaxed) & Incarnation::FLAG != 0;
        if (0..self.entries).any(sleepy) {
            let rings = u32::from(self.incarnation.partition()) << 24 | self.phase & 0xff_ffff;
            // relaxed: says only that there is a change; who wakes counts the arrivals again.
            self.rings().store(rings, Relaxed);
            self.bell.ring_all(self.rings().as_atomic());
        }
    }

    /// The place of our entry.
    fn own(&self) -> usize {
        usize::from(self.incarnation.partition()) - 1
    }

    fn incarnation_of(&self, at: usize) -> Word<'m> {
        let field = offset_of!(BarrierEntry, incarnation);
        self.segment.word(CONTROL + at * ENTRY + field)
    }

    fn arrival_of(&self, at: usize) -> Word<'m> {
        let field = offset_of!(BarrierEntry, arrived);
        self.segment.word(CONTROL + at * ENTRY + field)
    }

    fn rings(&self) -> Word<'m> {
        self.segment.word(offset_of!(BarrierControl, rings))
    }
}

/// What came of a look.
enum Step {
    /// The phase is complete.
    Passed(Arrival),
    /// It is not; perhaps for this incarnation, which is silent.
    Waiting(Option<Incarnation>),
}

fn bad_incarnation(value: u32) -> Corrupt {
    let word = ControlWord::BarrierIncarnation;
    Corrupt { word, value }
}

/// The phase after `phase` (B4).
fn after(phase: u32) -> u32 {
    phase.checked_add(1).unwrap_or(1)
}

/// Whether `phase` lies before `other`, by the shorter way round.
fn is_behind(phase: u32, other: u32) -> bool {
    other.wrapping_sub(phase) as i32 > 0
}
