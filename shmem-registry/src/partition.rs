//! The partitions that are attached to a region, and their incarnations.
//!
//! - **P1** Only the partition itself writes its slot.
//! - **P2** Attaching stores `incarnation` after the rest of the slot, so a partition that sees an
//!   incarnation also sees its process.
//! - **P3** `heartbeat` continues from one incarnation to the next.
//! - **P4** A partition that sees a word of an incarnation, a lock's owner for example, and reads
//!   the slot after that, finds that incarnation there or a later one.
//! - **P5** An evicted partition stores nothing more in its slot: before each store it checks
//!   whether the slot is still its own.
//!
//! The numbers of the partitions are agreed beforehand, so attaching needs no read-modify-write. If
//! two attach with one number at the same moment, one of them is evicted at its next beat: it finds
//! a heartbeat ahead of its own, or another process in the slot.
//!
//! | store | paired load | hands over |
//! |-------|-------------|------------|
//! | `incarnation` in `attach` | `incarnation` in `read` | the process, the first beat |
//! | fence in `attach`, a word | the word, fence in `read` | that it is attached (P4) |
//! | `incarnation` in `drop` | `incarnation` in `read`, `load_incarnation` | work before leaving |
//! | `heartbeat` in `beat` | `heartbeat` in `check` | the beats that other threads counted |

use core::fmt;

use memoffset::offset_of;

use shmem_core::layout::LINE;
use shmem_core::mem::{StructWindow, Word};
use shmem_core::primitive::{
    fence, AtomicU32,
    Ordering::{Acquire, Relaxed, Release},
};
use shmem_core::wait::{Pause, Wait};
use shmem_core::{ControlWord, Corrupt, Incarnation, Liveness, Region};

use crate::error::REFORMATTED;
pub use crate::evicted::Evicted;
use crate::layout::{PartitionSlot, PARTITIONS};
use crate::memory::Registry;

/// Set in the incarnation of a partition that left.
const LEFT: u32 = Incarnation::FLAG;

/// How the kernel of a partition identifies its process, for peers on the same kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Identifies the kernel, the PID namespace and the time namespace; 0 if unknown.
    pub namespace_id: u32,
    /// The number of the process there.
    pub number: u32,
    /// When the process started, low 32 bits: its number is used again for a later process.
    pub start: u32,
    /// Distinguishes the programs that it runs one after the other; 0 if unknown.
    pub image: u32,
}

impl Process {
    /// An unknown process, or one that no peer can find on its own kernel.
    pub const UNKNOWN: Self = Self {
        namespace_id: 0,
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
    /// An incarnation with this number is attached and has not left.
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
                "this registry has no slot for partition {partition}: it was formatted for \
                 partitions 1 to {slots}"
            ),
            Self::Attached { incarnation } => write!(
                f,
                "{incarnation} is attached: use another number, or wait until it is gone"
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
struct Slot<'m>(StructWindow<'m, PartitionSlot>);

impl<'m> Slot<'m> {
    fn new(registry: &Registry<'m>, partition: u8) -> Option<Self> {
        let index = usize::from(partition).checked_sub(1)?;
        if index >= registry.geometry().partitions {
            return None;
        }
        let line = registry.memory().sub(PARTITIONS + index * LINE, LINE);
        StructWindow::new(line.ok()?).ok().map(Self)
    }

    fn incarnation(self) -> Word<'m> {
        self.0.word(offset_of!(PartitionSlot, incarnation))
    }

    fn heartbeat(self) -> Word<'m> {
        self.0.word(offset_of!(PartitionSlot, heartbeat))
    }

    /// Loads `incarnation` for an incarnation that attaches after it.
    fn load_incarnation(self) -> u32 {
        // relaxed: before `attach` stores anything, the fence in `Region::is_stale` pairs with the
        // store in `drop`. So the work of an incarnation that left is seen.
        self.incarnation().load(Relaxed)
    }

    fn process(self) -> [Word<'m>; 4] {
        [
            self.0.word(offset_of!(PartitionSlot, process_namespace)),
            self.0.word(offset_of!(PartitionSlot, process)),
            self.0.word(offset_of!(PartitionSlot, process_start)),
            self.0.word(offset_of!(PartitionSlot, process_image)),
        ]
    }
}

impl Process {
    #[inline(never)]
    fn load(slot: Slot<'_>) -> Self {
        // relaxed: the load of `incarnation` is before it, where the slot is another partition's
        // (P2).
        let [namespace_id, number, start, image] = slot.process().map(|word| word.load(Relaxed));
        Self {
            namespace_id,
            number,
            start,
            image,
        }
    }
}

impl<'m> Registry<'m> {
    /// Attaches `partition` as a new incarnation.
    ///
    /// # Errors
    ///
    /// [`AttachError::NoSuchPartition`] if the registry has no slot for this number;
    /// [`AttachError::Attached`] if an earlier incarnation has not left. It may be alive or dead:
    /// [`Registry::attach_or_take_over`] can find out. [`AttachError::Reformatted`] if the region
    /// was formatted again since the handle was made; [`AttachError::Corrupt`].
    pub fn attach_partition(
        &self,
        partition: u8,
        process: Process,
    ) -> Result<Attachment<'m>, AttachError> {
        let slot = self.slot(partition)?;
        let word = slot.load_incarnation();
        match Incarnation::from_word(word) {
            None if word == 0 => Attachment::attach(self, slot, partition, word, process),
            Some(incarnation) if incarnation.partition() != partition => Err(corrupt(word)),
            Some(_) if word & LEFT != 0 => Attachment::attach(self, slot, partition, word, process),
            Some(incarnation) => Err(AttachError::Attached { incarnation }),
            None => Err(corrupt(word)),
        }
    }

    /// Attaches the incarnation that follows `earlier`, which the caller knows to be gone: the
    /// caller ended that partition itself, or an operator says so.
    ///
    /// From now on `earlier` is gone for all partitions. If it is still running, it is evicted: its
    /// next [`Attachment::beat`] or [`Attachment::check`] reports that. What it stores before it
    /// finds out can damage data of others.
    ///
    /// # Errors
    ///
    /// As [`Registry::attach_partition`], if an incarnation other than `earlier` is attached.
    pub fn attach_after(
        &self,
        earlier: Incarnation,
        process: Process,
    ) -> Result<Attachment<'m>, AttachError> {
        let slot = self.slot(earlier.partition())?;
        let word = slot.load_incarnation();
        if word == earlier.word() {
            return Attachment::attach(self, slot, earlier.partition(), word, process);
        }
        self.attach_partition(earlier.partition(), process)
    }

    /// As [`Registry::attach_partition`]. If an earlier incarnation has not left, waits until it is
    /// gone.
    ///
    /// # Errors
    ///
    /// As [`Registry::attach_partition`]; [`AttachError::Attached`] if the earlier incarnation is
    /// not known to be gone at the deadline of `wait`.
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
                    // relaxed: only the value to sleep on; the loop checks again.
                    let word = slot.incarnation().load(Relaxed);
                    wait.sleep(slot.incarnation().as_atomic(), word.to_le());
                }
            }
        }
    }

    /// Reads the slot of `partition`.
    ///
    /// # Errors
    ///
    /// [`AttachError::NoSuchPartition`] if the registry has no slot for this number;
    /// [`AttachError::Corrupt`] if the slot contains the incarnation of another partition.
    pub fn partition(&self, partition: u8) -> Result<Partition, AttachError> {
        Partition::read(self.slot(partition)?, partition)
    }

    fn slot(&self, partition: u8) -> Result<Slot<'m>, AttachError> {
        Slot::new(self, partition).ok_or(AttachError::NoSuchPartition {
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

/// A partition's own attachment in a region. When it is dropped, the partition leaves.
///
/// All threads of the partition may share it.
pub struct Attachment<'m> {
    region: Region<'m>,
    slot: Slot<'m>,
    incarnation: Incarnation,
    /// The process in the slot, unless this partition's number was given to two partitions.
    process: Process,
    /// The last beat. Private to this program and shared by its threads.
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
        let incarnation = Incarnation::next(partition, before).ok_or(corrupt(word))?;
        let heartbeat = slot.heartbeat().load(Relaxed).wrapping_add(1);
        let [namespace_id, number, start, image] = slot.process();
        namespace_id.store(process.namespace_id, Relaxed);
        number.store(process.number, Relaxed);
        start.store(process.start, Relaxed);
        image.store(process.image, Relaxed);
        slot.heartbeat().store(heartbeat, Relaxed);
        // Release: pairs with the load in `Partition::read` (P2).
        // loom: loom_partition
        slot.incarnation().store(incarnation.word(), Release);
        // Pairs with the fence in `Partition::read` (P4).
        // loom: loom_partition::a_reader_of_a_partitions_word_finds_the_partition_attached
        fence(Release);
        Ok(Self {
            region: registry.region(),
            slot,
            incarnation,
            process,
            heartbeat: AtomicU32::new(heartbeat),
        })
    }

    /// Returns the incarnation that is attached.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Changes the heartbeat. Call it several times within the limit after which peers regard a
    /// partition as silent ([`liveness::SILENCE_LIMIT`](crate::liveness::SILENCE_LIMIT) by
    /// default).
    ///
    /// # Errors
    ///
    /// [`Evicted`] if the slot no longer belongs to this incarnation; nothing is stored.
    pub fn beat(&self) -> Result<(), Evicted> {
        self.check()?;
        // relaxed: private to this program, and the store of the beat is after it.
        let beat = self.heartbeat.fetch_add(1, Relaxed).wrapping_add(1);
        // Release: pairs with the load in `check`; a thread of ours that sees this beat also sees
        // that we counted it.
        // loom: loom_partition::two_threads_of_a_partition_beat_without_eviction
        self.slot.heartbeat().store(beat, Release);
        Ok(())
    }

    /// Checks that the slot still belongs to this incarnation.
    ///
    /// # Errors
    ///
    /// [`Evicted`] if it does not, or the region was formatted again: this incarnation must store
    /// nothing more in the region.
    // relaxed in all of this: the load of the beat is before them, and shows the beats that our
    // threads have counted. After an old `incarnation` the next check reports the eviction.
    #[inline(never)] // One copy: a beat need not be fast.
    pub fn check(&self) -> Result<(), Evicted> {
        // Acquire: pairs with the store in `beat`.
        // loom: loom_partition::two_threads_of_a_partition_beat_without_eviction
        let beat = self.slot.heartbeat().load(Acquire);
        let ahead = beat.wrapping_sub(self.heartbeat.load(Relaxed)) as i32 > 0;
        let is_ours = !ahead
            && self.slot.incarnation().load(Relaxed) == self.incarnation.word()
            && Process::load(self.slot) == self.process;
        // Last, because after a format the same words can belong to another partition.
        if !is_ours || self.region.is_stale() {
            return Err(Evicted);
        }
        Ok(())
    }
}

impl Attachment<'_> {
    /// Returns true if the region was formatted again since this partition attached. An eviction
    /// then has this cause.
    pub fn is_reformatted(&self) -> bool {
        self.region.is_stale()
    }
}

impl Drop for Attachment<'_> {
    fn drop(&mut self) {
        if self.check().is_ok() {
            // Release: pairs with the load in `read`, and with the fence in `Region::is_stale` of
            // the next incarnation that attaches, which sees our work.
            // loom: loom_partition::a_partition_that_attaches_after_another_left_sees_its_work
            self.slot
                .incarnation()
                .store(self.incarnation.word() | LEFT, Release);
        }
    }
}

/// The contents of a partition's slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its current or last incarnation; `None` if it never attached.
    pub incarnation: Option<Incarnation>,
    /// True if it is attached and has not left. A partition that was killed has not left.
    pub attached: bool,
    /// Changes while the partition runs. Only a difference between two values has a meaning.
    pub heartbeat: u32,
    /// How its kernel identifies its process.
    pub process: Process,
}

impl Partition {
    fn read(slot: Slot<'_>, partition: u8) -> Result<Self, AttachError> {
        // Pairs with the fence in `Attachment::attach`: if the caller has read a word of an
        // incarnation, that incarnation attached before it stored the word (P4).
        // loom: loom_partition::a_reader_of_a_partitions_word_finds_the_partition_attached
        fence(Acquire);
        // Acquire: pairs with the store in `Attachment::attach` (P2).
        // loom: loom_partition
        let word = slot.incarnation().load(Acquire);
        let incarnation = Incarnation::from_word(word);
        if word != 0 && incarnation.map(Incarnation::partition) != Some(partition) {
            return Err(corrupt(word));
        }
        Ok(Self {
            incarnation,
            attached: word != 0 && word & LEFT == 0,
            // relaxed: the load of `incarnation` is before it; the next check sees a beat that this
            // one misses.
            heartbeat: slot.heartbeat().load(Relaxed),
            process: Process::load(slot),
        })
    }
}
