//! Who is attached to a region, and in which incarnation.
//!
//! - **P1** A partition's slot is written by that partition alone.
//! - **P2** `incarnation` is stored behind the rest of the slot when attaching, so that
//!   whoever sees an incarnation sees its process.
//! - **P3** `heartbeat` goes on over the incarnations.
//! - **P4** Whoever sees a word that an incarnation stored, a lock's owner for example, and
//!   looks at the slot after that, finds that incarnation there or a later one.
//! - **P5** An evicted partition stores nothing more in its slot: before each store it
//!   looks whether the slot is still its own.
//!
//! Who has which number is agreed beforehand, so attaching needs no
//! read-modify-write; of two that attach with one number at the same moment, the one
//! that beats later finds the heartbeat ahead of its own, or the other's process in the
//! slot, and is evicted.
//!
//! | store                     | paired load         | hands over                  |
//! |---------------------------|---------------------|-----------------------------|
//! | `incarnation` in `attach`        | `incarnation` in `look`    | the process, the first beat |
//! | fence in `attach`, a word | the word, fence in `look` | that it is attached (P4) |
//! | `incarnation` in `drop`          | `incarnation` in `look`, `attached_word` | what the partition did before it left |
//! | `heartbeat` in `beat`     | `heartbeat` in `check` | what the same partition's other threads have counted |

use core::fmt;

use memoffset::offset_of;

use shmem_core::layout::LINE;
use shmem_core::mem::Word;
use shmem_core::primitive::{
    fence, AtomicU32,
    Ordering::{Acquire, Relaxed, Release},
};
use shmem_core::wait::{Pause, Wait};
use shmem_core::{ControlWord, Corrupt, Incarnation, Liveness, Region, Window};

use crate::error::REFORMATTED;
pub use crate::evicted::Evicted;
use crate::layout::{PartitionSlot, PARTITIONS};
use crate::memory::Registry;

/// Set in the incarnation of a partition that left.
const LEFT: u32 = Incarnation::FLAG;

/// How the kernel of a partition knows it, for peers on the same kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Tells kernels and process namespaces apart; 0 is unknown.
    pub space: u32,
    /// The process's number there.
    pub number: u32,
    /// When it started, low 32 bits: numbers are used again.
    pub start: u32,
    /// Tells the programs that it runs one after the other apart; 0 is unknown.
    pub image: u32,
}

impl Process {
    /// No process of a kernel that a peer might run on.
    pub const UNKNOWN: Self = Self {
        space: 0,
        number: 0,
        start: 0,
        image: 0,
    };
}

/// Why a partition could not attach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachError {
    /// The registry has no slot for this number.
    NoSuchPartition {
        /// The number.
        partition: u8,
        /// How many slots there are.
        slots: usize,
    },
    /// An incarnation of this number is attached and has not left.
    Attached {
        /// That incarnation.
        incarnation: Incarnation,
    },
    /// The region was formatted again since the registry's handle was made.
    Reformatted,
    /// A partition broke the protocol.
    Corrupt(Corrupt),
}

impl fmt::Display for AttachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchPartition { partition, slots } => write!(
                f,
                "no slot for partition {partition}: this registry was formatted for {slots}, from 1"
            ),
            Self::Attached { incarnation } => write!(
                f,
                "{incarnation} is attached: take another number, or its place once that incarnation is over"
            ),
            Self::Reformatted => f.write_str(REFORMATTED),
            Self::Corrupt(corrupt) => corrupt.fmt(f),
        }
    }
}

#[cfg(feature = "std")]
mod std_error {
    impl std::error::Error for super::AttachError {}
}

/// A partition's slot.
#[derive(Clone, Copy)]
struct Slot<'m>(Window<'m>);

impl<'m> Slot<'m> {
    fn of(registry: &Registry<'m>, partition: u8) -> Option<Self> {
        let index = usize::from(partition).checked_sub(1)?;
        if index >= registry.geometry().partitions {
            return None;
        }
        let line = registry.memory().sub(PARTITIONS + index * LINE, LINE);
        line.ok().map(Self)
    }

    fn incarnation(self) -> Word<'m> {
        self.0.word(offset_of!(PartitionSlot, incarnation))
    }

    fn heartbeat(self) -> Word<'m> {
        self.0.word(offset_of!(PartitionSlot, heartbeat))
    }

    /// The incarnation's word, for one that comes after it.
    fn attached_word(self) -> u32 {
        // relaxed: before `attach` stores, the fence in `Region::is_stale` pairs with the
        // store in `drop`: what one did that left is seen.
        self.incarnation().load(Relaxed)
    }

    fn process(self) -> [Word<'m>; 4] {
        [
            self.0.word(offset_of!(PartitionSlot, process_space)),
            self.0.word(offset_of!(PartitionSlot, process)),
            self.0.word(offset_of!(PartitionSlot, process_start)),
            self.0.word(offset_of!(PartitionSlot, process_image)),
        ]
    }
}

impl Process {
    #[inline(never)]
    fn load(slot: Slot<'_>) -> Self {
        // relaxed: the load of `incarnation` is before it where it is another's (P2).
        let [space, number, start, image] = slot.process().map(|word| word.load(Relaxed));
        Self {
            space,
            number,
            start,
            image,
        }
    }
}

impl<'m> Registry<'m> {
    /// Announces `partition` to the others, as a new incarnation of it.
    ///
    /// # Errors
    ///
    /// [`AttachError::NoSuchPartition`]; [`AttachError::Attached`] if an earlier
    /// incarnation has not left: it lives, or it was killed, which
    /// [`Registry::attach_or_take_over`] finds out; [`AttachError::Corrupt`].
    pub fn attach_partition(
        &self,
        partition: u8,
        process: Process,
    ) -> Result<Attachment<'m>, AttachError> {
        let slot = self.slot(partition)?;
        let word = slot.attached_word();
        match Incarnation::from_word(word) {
            None if word == 0 => Attachment::attach(self, slot, partition, word, process),
            Some(incarnation) if incarnation.partition() != partition => Err(corrupt(word)),
            Some(_) if word & LEFT != 0 => Attachment::attach(self, slot, partition, word, process),
            Some(incarnation) => Err(AttachError::Attached { incarnation }),
            None => Err(corrupt(word)),
        }
    }

    /// Announces the incarnation that follows `earlier`, which the caller knows to be gone: it
    /// ended that partition itself, or an operator says so.
    ///
    /// From now on `earlier` is gone for everybody. If it is alive, it is evicted: it is
    /// told so at its next call, and what it stores until then can do harm.
    ///
    /// # Errors
    ///
    /// As [`Registry::attach_partition`], if another incarnation than `earlier` is attached.
    pub fn attach_after(
        &self,
        earlier: Incarnation,
        process: Process,
    ) -> Result<Attachment<'m>, AttachError> {
        let slot = self.slot(earlier.partition())?;
        let word = slot.attached_word();
        if word == earlier.word() {
            return Attachment::attach(self, slot, earlier.partition(), word, process);
        }
        self.attach_partition(earlier.partition(), process)
    }

    /// As [`Registry::attach_partition`], and waits until an earlier incarnation that
    /// has not left is known to be gone.
    ///
    /// # Errors
    ///
    /// As [`Registry::attach_partition`]; [`AttachError::Attached`] if the earlier
    /// incarnation is not known to be gone when `wait`'s deadline passes.
    pub fn attach_or_take_over<W: Wait, L: Liveness>(
        &self,
        partition: u8,
        process: Process,
        wait: &mut W,
        liveness: &mut L,
    ) -> Result<Attachment<'m>, AttachError> {
        let slot = self.slot(partition)?;
        loop {
            let error = match self.attach_partition(partition, process) {
                Err(AttachError::Attached { incarnation }) if liveness.is_gone(incarnation) => {
                    return self.attach_after(incarnation, process)
                }
                Err(error @ AttachError::Attached { .. }) => error,
                done => return done,
            };
            match wait.pause() {
                Pause::Again => {}
                Pause::TimedOut => return Err(error),
                Pause::Sleep => {
                    // relaxed: only what to sleep on; the loop looks again.
                    let word = slot.incarnation().load(Relaxed);
                    wait.sleep(slot.incarnation().as_atomic(), word.to_le());
                }
            }
        }
    }

    /// What is known of `partition`.
    ///
    /// # Errors
    ///
    /// [`AttachError::NoSuchPartition`]; [`AttachError::Corrupt`] if its slot holds
    /// no incarnation of it.
    pub fn partition(&self, partition: u8) -> Result<Partition, AttachError> {
        Partition::look(self.slot(partition)?, partition)
    }

    fn slot(&self, partition: u8) -> Result<Slot<'m>, AttachError> {
        Slot::of(self, partition).ok_or(AttachError::NoSuchPartition {
            partition,
            slots: self.geometry().partitions,
        })
    }
}

fn corrupt(value: u32) -> AttachError {
    AttachError::Corrupt(Corrupt {
        word: ControlWord::PartitionIncarnation,
        value,
    })
}

/// A partition's own attachment in a region; dropped, it has left.
///
/// All threads of the partition may use one.
pub struct Attachment<'m> {
    region: Region<'m>,
    slot: Slot<'m>,
    incarnation: Incarnation,
    /// As the slot has it, unless this partition's number was given twice.
    process: Process,
    /// The last beat. Private to this program; its threads count on together.
    heartbeat: AtomicU32,
}

impl<'m> Attachment<'m> {
    // relaxed in all of this: the fence in `is_stale` is before it, and the store of `incarnation`
    // publishes it.
    fn attach(
        registry: &Registry<'m>,
        slot: Slot<'m>,
        partition: u8,
        word: u32,
        process: Process,
    ) -> Result<Self, AttachError> {
        if registry.region().is_stale() {
            return Err(AttachError::Reformatted);
        }
        let before = (word & !LEFT) >> 8;
        let incarnation = Incarnation::after(partition, before).ok_or(corrupt(word))?;
        let heartbeat = slot.heartbeat().load(Relaxed).wrapping_add(1);
        let [space, number, start, image] = slot.process();
        space.store(process.space, Relaxed);
        number.store(process.number, Relaxed);
        start.store(process.start, Relaxed);
        image.store(process.image, Relaxed);
        slot.heartbeat().store(heartbeat, Relaxed);
        // Pairs with the load in `Partition::look` (P2).
        // loom: loom_partition
        slot.incarnation().store(incarnation.word(), Release);
        // Pairs with the fence in
        // `Partition::look` (P4).
        // loom: loom_partition::who_sees_a_word_of_a_partition_finds_it_attached
        fence(Release);
        Ok(Self {
            region: registry.region(),
            slot,
            incarnation,
            process,
            heartbeat: AtomicU32::new(heartbeat),
        })
    }

    /// Which incarnation of which partition this is.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Shows that the partition lives: several times in the time after which
    /// peers take it for silent.
    ///
    /// # Errors
    ///
    /// [`Evicted`] if the slot is not this incarnation's any more; nothing is stored.
    pub fn beat(&self) -> Result<(), Evicted> {
        self.check()?;
        // relaxed: private to this program, and the store of the beat is after it.
        let beat = self.heartbeat.fetch_add(1, Relaxed).wrapping_add(1);
        // Release: pairs with the load in `check`; another thread of ours that sees this
        // beat sees that we counted it.
        // loom: loom_partition::threads_of_a_partition_beat_together
        self.slot.heartbeat().store(beat, Release);
        Ok(())
    }

    /// Whether the slot is still this incarnation's.
    ///
    /// # Errors
    ///
    /// [`Evicted`] if it is not, or the region was formatted again: this incarnation is to store
    /// nothing more in the region.
    // relaxed in all of this: the load of the beat is before them, and shows what our threads
    // have counted; an old `incarnation` shows the eviction at the next look.
    #[inline(never)] // One copy: a beat is no hurry.
    pub fn check(&self) -> Result<(), Evicted> {
        // Acquire: pairs with the store in `beat`.
        // loom: loom_partition::threads_of_a_partition_beat_together
        let beat = self.slot.heartbeat().load(Acquire);
        let ahead = beat.wrapping_sub(self.heartbeat.load(Relaxed)) as i32 > 0;
        let is_ours = !ahead
            && self.slot.incarnation().load(Relaxed) == self.incarnation.word()
            && Process::load(self.slot) == self.process;
        // Last: the same words can be another's after a format.
        if !is_ours || self.region.is_stale() {
            return Err(Evicted);
        }
        Ok(())
    }
}

impl Attachment<'_> {
    /// Whether the region was formatted again since: the reason of an eviction.
    pub fn is_reformatted(&self) -> bool {
        self.region.is_stale()
    }
}

impl Drop for Attachment<'_> {
    fn drop(&mut self) {
        if self.check().is_ok() {
            // Pairs with the load in `look`, and with the fence in `Region::is_stale` of who
            // attaches next: it sees what we did.
            // loom: loom_partition::who_follows_one_that_left_sees_what_it_did
            self.slot
                .incarnation()
                .store(self.incarnation.word() | LEFT, Release);
        }
    }
}

/// What a partition's slot says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its incarnation, or its last one; `None` if it never attached.
    pub incarnation: Option<Incarnation>,
    /// Whether it is attached and has not left. One that was killed did not leave.
    pub attached: bool,
    /// Moves while it lives; only a difference means anything.
    pub heartbeat: u32,
    /// How its kernel knows it.
    pub process: Process,
}

impl Partition {
    fn look(slot: Slot<'_>, partition: u8) -> Result<Self, AttachError> {
        // Pairs with the fence in `Attachment::attach`: what the caller read of an incarnation
        // before, that incarnation stored behind its attaching (P4).
        // loom: loom_partition::who_sees_a_word_of_a_partition_finds_it_attached
        fence(Acquire);
        // Pairs with the store in `Attachment::attach` (P2).
        // loom: loom_partition
        let word = slot.incarnation().load(Acquire);
        let incarnation = Incarnation::from_word(word);
        if word != 0 && incarnation.map(Incarnation::partition) != Some(partition) {
            return Err(corrupt(word));
        }
        Ok(Self {
            incarnation,
            attached: word != 0 && word & LEFT == 0,
            // relaxed: the load of `incarnation` is before it; a beat that is missed is seen at the
            // next look.
            heartbeat: slot.heartbeat().load(Relaxed),
            process: Process::load(slot),
        })
    }
}
