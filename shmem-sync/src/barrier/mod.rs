//! Barrier: partitions continue when all of them have arrived.
//!
//! Each partition has an entry that shows at which phase it has arrived; every partition counts the
//! entries. Loads, stores and fences only.
//!
//! - **B1** Only a partition's own incarnation stores its entry: first `incarnation`, then
//!   `arrived`.
//! - **B2** A partition arrives at the phase after the one that it has passed. It may have passed
//!   none, for example after a restart. Then it arrives at the newest phase at which any partition
//!   has arrived, or at the next one if that phase is complete.
//! - **B3** A phase is complete when the number of entries that have arrived at it or at the next
//!   one equals the number of parties: a partition arrives at the next phase only after it has
//!   passed this one.
//! - **B4** Phases count from 1; 1 follows 2^32 - 1; 0 is before the first.
//! - **B5** A partition that finds the phase complete when it arrives looks for flags in
//!   `incarnation`. If there is one, it stores a value in `ring_count` that no partition has stored
//!   there before, and rings. A partition that sleeps set its flag before it counted for the last
//!   time.
//! - **B6** `phase` is for inspection alone.
//! - **B7** Before an incarnation stores anything in its entry, it checks whether a later one of
//!   its partition has stored there. An incarnation that was treated as gone while it ran can thus
//!   make at most the late stores of one arrival, or of one preparation to sleep. The later
//!   incarnation corrects the entry when it checks or arrives again. Until then the others do not
//!   count its arrival, or get the error that the earlier one died.
//!
//! ```text
//!   sleeper                       last to arrive
//!   seen = ring_count             arrived = p
//!   incarnation = l + flag        fence(SeqCst)
//!   fence(SeqCst)                 all arrived? a flag?
//!   all arrived? -> continue      -> ring_count = its number and p
//!   ring_count == seen? -> sleep  -> ring
//! ```
//!
//! The fences of all arrivals and of the sleepers have one order. The partition whose arrival comes
//! last in it counts all of them. If a sleeper's fence comes before that one, its flag is seen; if
//! it comes after, the sleeper counts them all.
//!
//! | store                 | paired load            | hands over                       |
//! |-----------------------|------------------------|----------------------------------|
//! | `arrived` in `arrive` | `arrived` in `arrived` | what a party did before arriving |
//!
//! If a party dies between arriving and ringing, the sleepers lose at most one
//! [`RECHECK`](shmem_core::wait::RECHECK). B1 binds honest partitions: a hostile one that may write
//! the segment can let others pass early, or hold them until their deadline. The models are in
//! `tests/loom_barrier.rs`.

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

/// A barrier, as one incarnation of a partition uses it.
///
/// It is for a fixed set of `parties` partitions, with one handle each. If a party dies, no phase
/// completes until its next incarnation arrives in its place, and [`Barrier::wait`] returns an
/// error. For a silent party the others wait (see [`Barrier::wait`]). It needs no
/// read-modify-write.
///
/// # Examples
///
/// ```
/// use shmem_core::doorbell::NoDoorbell;
/// use shmem_core::{mem::Heap, wait::Spin, Incarnation};
/// use shmem_sync::{Barrier, AssumeAlive};
///
/// let heap = Heap::new(Barrier::segment_len(2));
/// let party = |partition| {
///     let incarnation = Incarnation::first(partition);
///     // SAFETY: the only handle of this partition.
///     let barrier = unsafe { Barrier::attach(heap.window(), incarnation, 2, &NoDoorbell) };
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
    /// The phase at which we arrived last, whatever our entry contains.
    phase: u32,
    /// True if we have not passed it yet.
    pending: bool,
}

/// A phase that is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The phase.
    pub phase: u32,
    /// True for exactly one party: the one with the lowest number of all that arrived.
    pub leader: bool,
}

impl<'m> Barrier<'m> {
    /// Returns the length of a segment with room for partitions with numbers up to `partitions`.
    pub const fn segment_len(partitions: u8) -> usize {
        CONTROL + partitions as usize * ENTRY
    }

    /// Returns the barrier of `parties` partitions in `segment`, used by `incarnation`, which rings
    /// `bell` for those that wait. A zeroed segment is a barrier that no partition has passed.
    ///
    /// # Errors
    ///
    /// [`BarrierAttachError`] if the segment has no entry for the partition, if it has fewer
    /// entries than `parties`, or if `parties` is 0.
    ///
    /// # Safety
    ///
    /// No other handle of `incarnation` on this barrier is used from now on. A partition has one
    /// entry, so two handles of one incarnation let the others pass early. By loads and stores
    /// alone, two handles that attach at the same time cannot detect each other.
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

    /// Arrives, and waits for the others until the deadline of `wait`. If the deadline has already
    /// passed, checks once.
    ///
    /// Even after an error, this partition has arrived. The next call continues to wait, and
    /// returns `Ok` if the phase has become complete meanwhile.
    ///
    /// # Errors
    ///
    /// [`BarrierError::PartyDied`] if a party that was at the phase before is gone and has not
    /// arrived at this one. To wait for its next incarnation, call this again with
    /// [`crate::AssumeAlive`]. A party that never arrived at any phase is not known here: use a
    /// deadline.
    /// [`BarrierError::TimedOut`] at the deadline, or [`BarrierError::PartySilent`] if a party that
    /// was at the phase before is silent then. [`BarrierError::Evicted`] if a later incarnation of
    /// this partition takes part. [`BarrierError::Corrupt`] if a partition broke the protocol.
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
                    if self.check_phase_unless_evicted()?.is_none() {
                        wait.sleep(self.ring_count().as_atomic(), seen.to_le());
                    }
                }
            }
        }
    }

    /// Arrives, unless it has arrived already. Returns `None` if not all others have arrived: call
    /// it again, or [`Barrier::wait`].
    ///
    /// # Errors
    ///
    /// As [`Barrier::wait`], without those of the deadline.
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
                0 => self.first_phase(),
                passed => next_phase(passed),
            };
            self.pending = true;
        }
        if arriving || !self.is_entry_unchanged() {
            self.arrive()?;
        }
        if let Some(leader) = self.check_phase_unless_evicted()? {
            self.pending = false;
            if arriving {
                self.wake();
                // We may have been stopped in it, and treated as gone since.
                self.check_phase_unless_evicted()?;
            }
            return Ok(Step::Passed(Arrival {
                phase: self.phase,
                leader,
            }));
        }
        match self.missing_party(liveness)? {
            Some((incarnation, PartitionState::Gone)) => Err(BarrierError::PartyDied(incarnation)),
            silent => Ok(Step::Waiting(silent.map(|(incarnation, _)| incarnation))),
        }
    }

    /// Returns an error if a later incarnation of our partition uses our entry (B7).
    fn check_entry(&self) -> Result<(), BarrierError> {
        match self.party(self.own_index())? {
            Some(incarnation) if incarnation.follows(self.incarnation) => {
                Err(BarrierError::Evicted)
            }
            _ => Ok(()),
        }
    }

    /// Returns the incarnation that stored the entry at `at`; `None` if none did.
    fn party(&self, at: usize) -> Result<Option<Incarnation>, Corrupt> {
        // relaxed: for another party, as new as its arrival, by the Acquire in `arrived`. For our
        // own entry: a partition that finds a later incarnation too late stores what B7 allows.
        let value = self.incarnation_of(at).load(Relaxed);
        match Incarnation::from_word(value) {
            Some(incarnation) if usize::from(incarnation.partition()) == at + 1 => {
                Ok(Some(incarnation))
            }
            None if value == 0 => Ok(None),
            _ => Err(bad_incarnation(value)),
        }
    }

    /// Returns true if our entry is as we left it (B7).
    // relaxed in all of this: only we store the entry, or a later incarnation, which is found in
    // time or one call late (B7).
    fn is_entry_unchanged(&self) -> bool {
        let incarnation = self.incarnation_of(self.own_index()).load(Relaxed) & !Incarnation::FLAG;
        let arrived = self.arrival_of(self.own_index()).load(Relaxed);
        (incarnation, arrived) == (self.incarnation.word(), self.phase)
    }

    /// Stores our arrival at the phase.
    fn arrive(&self) -> Result<(), BarrierError> {
        // Without the flag: we are awake.
        // relaxed: the store of `arrived` below publishes it.
        self.incarnation_of(self.own_index())
            .store(self.incarnation.word(), Relaxed);
        // If a later incarnation has arrived, the store above was late (B7).
        // relaxed: finds our own store or a later one. If a later incarnation's store is not seen
        // yet, we make one more late store (B7).
        if self.is_ahead(self.arrival_of(self.own_index()).load(Relaxed)) {
            return Err(BarrierError::Evicted);
        }
        // Release: pairs with the load in `arrived`; hands over our work and `incarnation`.
        // loom: loom_barrier::work_before_a_phase_is_seen_after_it_and_not_earlier
        self.arrival_of(self.own_index()).store(self.phase, Release);
        // Pairs with itself in the others, and with the fence in `arm`: the store of `arrived`
        // before it and the count after it must not be reordered.
        // loom: loom_barrier::a_sleeper_is_woken_by_the_arrival_it_missed
        fence(SeqCst);
        Ok(())
    }

    /// Returns the phase to arrive at if we have not passed one (B2).
    fn first_phase(&self) -> u32 {
        let (mut newest, mut count) = (0, 0);
        for at in 0..self.entries {
            // Acquire: pairs with the store in `arrive`. A party that sees our arrival also sees
            // the arrivals that we found here. An old value is as if we had arrived a little
            // earlier.
            // loom: none (only the error that an evicted party gets depends on it)
            let found = self.arrival_of(at).load(Acquire);
            if found != 0 && (newest == 0 || is_before(newest, found)) {
                (newest, count) = (found, 0);
            }
            count += usize::from(found == newest);
        }
        match newest != 0 && count < self.parties {
            true => newest,
            false => next_phase(newest),
        }
    }

    /// Returns `None` if the phase is not complete (B3); otherwise whether we lead.
    fn check_phase(&self) -> Result<Option<bool>, Corrupt> {
        let (mut count, mut leader) = (0, None);
        for at in 0..self.entries {
            if self.has_arrived(at)? {
                leader = leader.or(Some(at));
                count += 1;
                if count == self.parties {
                    return Ok(Some(leader == Some(self.own_index())));
                }
            }
        }
        Ok(None)
    }

    /// As [`Barrier::check_phase`]; returns `Evicted` if the others have passed the phase. Without
    /// us they can do that only if we were treated as gone.
    fn check_phase_unless_evicted(&self) -> Result<Option<bool>, BarrierError> {
        self.check_phase()
            .map_err(|corrupt| match self.others_went_on() {
                true => BarrierError::Evicted,
                false => BarrierError::Corrupt(corrupt),
            })
    }

    /// Returns true if all the others have arrived at later phases than ours: with a later
    /// incarnation of our partition in our place, or with another partition.
    fn others_went_on(&self) -> bool {
        // relaxed: after the Acquire in `arrived` that found a party two phases ahead. It shows all
        // arrivals that this party has seen.
        let is_ahead = |&at: &usize| self.is_ahead(self.arrival_of(at).load(Relaxed));
        let others = (0..self.entries).filter(|&at| at != self.own_index());
        others.filter(is_ahead).count() + 1 >= self.parties
    }

    /// Returns true if an arrival is at a later phase than ours.
    fn is_ahead(&self, arrived: u32) -> bool {
        arrived != 0 && is_before(self.phase, arrived)
    }

    fn has_arrived(&self, at: usize) -> Result<bool, Corrupt> {
        let value = self.arrived(at);
        if value == self.phase || value == next_phase(self.phase) {
            return Ok(true);
        }
        if self.is_ahead(value) {
            let word = ControlWord::BarrierArrived;
            return Err(Corrupt { word, value });
        }
        Ok(false)
    }

    fn arrived(&self, at: usize) -> u32 {
        if at == self.own_index() {
            return self.phase;
        }
        // Acquire: pairs with the store in `arrive`; the work of that party before it is seen.
        // loom: loom_barrier::work_before_a_phase_is_seen_after_it_and_not_earlier
        self.arrival_of(at).load(Acquire)
    }

    /// Returns a party that prevents the phase: one that is gone, otherwise one that is silent.
    fn missing_party<L: Liveness>(
        &self,
        liveness: &mut L,
    ) -> Result<Option<(Incarnation, PartitionState)>, Corrupt> {
        let mut silent = None;
        let missing = |at| {
            let last = self.arrived(at);
            last != 0 && next_phase(last) == self.phase
        };
        for at in (0..self.entries).filter(|&at| at != self.own_index()) {
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

    /// Sets our flag, so that we are rung when the phase is complete. Returns the value to sleep
    /// on.
    fn arm(&self) -> u32 {
        // relaxed: the fence orders it before the store of the party that answers the flag, which
        // stores a value that was not there before.
        let seen = self.ring_count().load(Relaxed);
        let flagged = self.incarnation.word() | Incarnation::FLAG;
        // relaxed: the fence orders it before the count of the arrivals.
        self.incarnation_of(self.own_index())
            .store(flagged, Relaxed);
        // Pairs with the fence in `arrive`: the store of the flag before it and the count after it
        // must not be reordered.
        // loom: loom_barrier::a_sleeper_is_woken_by_the_arrival_it_missed
        fence(SeqCst);
        seen
    }

    /// Wakes the sleepers of the phase, which was complete when we had arrived (B5).
    fn wake(&self) {
        let phase = self.segment.word(offset_of!(BarrierControl, phase));
        // relaxed: for inspection alone (B6).
        phase.store(self.phase, Relaxed);
        // relaxed: after the fence in `arrive`, which makes the flags of all possible sleepers
        // visible.
        let flagged = |at| self.incarnation_of(at).load(Relaxed) & Incarnation::FLAG != 0;
        if (0..self.entries).any(flagged) {
            let ring_count = u32::from(self.incarnation.partition()) << 24 | self.phase & 0xff_ffff;
            // relaxed: only shows that there is a change; a party that wakes counts the arrivals
            // again.
            self.ring_count().store(ring_count, Relaxed);
            self.bell.ring_all(self.ring_count().as_atomic());
        }
    }

    /// Returns the index of our entry.
    fn own_index(&self) -> usize {
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

    fn ring_count(&self) -> Word<'m> {
        self.segment.word(offset_of!(BarrierControl, ring_count))
    }
}

/// The result of one check.
enum Step {
    /// The phase is complete.
    Passed(Arrival),
    /// It is not complete; if an incarnation is given, the phase waits for it and it is silent.
    Waiting(Option<Incarnation>),
}

fn bad_incarnation(value: u32) -> Corrupt {
    let word = ControlWord::BarrierIncarnation;
    Corrupt { word, value }
}

/// Returns the phase after `phase` (B4).
fn next_phase(phase: u32) -> u32 {
    phase.checked_add(1).unwrap_or(1)
}

/// Returns true if `phase` is before `other`, on the shorter way round.
fn is_before(phase: u32, other: u32) -> bool {
    other.wrapping_sub(phase) as i32 > 0
}
