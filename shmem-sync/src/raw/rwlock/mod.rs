//! Many readers or one writer, between partitions that may die while they hold the lock.
//!
//! | `writer`  | `writing` | reader words | meaning                                             |
//! |-----------|-----------|--------------|-----------------------------------------------------|
//! | 0         | 0         | any          | free, or locked for reading                         |
//! | *l*       | 0         | some         | *l* waits for the readers; no new reader gets in    |
//! | *l*       | *l*       | none         | *l* writes                                          |
//! | *l*, gone | 0         | any          | *l* died while it waited: nothing is suspect        |
//! | *l*, gone | not 0     | any          | a writer died: the next marks the bytes in `health` |
//!
//! `owner.rs` describes the changes of `writer`, sleeping and waking; here all sleepers are woken,
//! because readers are among them. [`crate::health`] describes `health`.
//!
//! - **L1** Only the incarnation that has `writer` stores `health` and `writing`; a writer that
//!   waits stores neither.
//! - **L2** A reader is inside if it claimed a reader word and found `writer` 0 after that. A
//!   writer is inside if it took `writer` and found every reader word 0 after that.
//! - **L3** `writing` is the writer's incarnation while it touches the bytes. It becomes 0 by an
//!   exchange: of that incarnation, by the writer that leaves; of any other value, by one that
//!   takes over.
//! - **L4** A reader word changes from 0 to the incarnation that claims it. It changes back by that
//!   incarnation, or by any other once the first is gone. Each change is an exchange of the exact
//!   word.
//!
//! Each late store of an incarnation that was treated as gone while it had the lock is a
//! compare-and-swap that expects its own incarnation, and fails, except two of a writer: *writing*
//! from 0, and *suspect* from whole. These two can cause an unnecessary warning
//! ([`crate::health`]), and hide none.
//!
//! ```text
//!   reader                       writer
//!   reader word = incarnation    writer = incarnation
//!   fence(SeqCst)                fence(SeqCst)
//!   writer 0? -> inside          reader words 0? -> inside
//!
//!   reader that leaves           writer
//!   reader word = 0              writer = incarnation
//!   fence(SeqCst)                fence(SeqCst)
//!   writer not 0? -> ring        reader word not 0? -> sleep on it
//! ```
//!
//! The two fences are ordered one before the other. So at most one of the two gets in, and the
//! writer is rung or does not sleep.
//!
//! | store | paired load | hands over |
//! |-------|-------------|------------|
//! | `writer` in `free` | `writer` in `exchange`, `load_acquire` | the bytes and `health` |
//! | reader word in `release_reader` | reader word in `drain` (L4) | the bytes, to a writer |
//! | `writing` in `clear_writing` | `writing` in `recover_dead_writer` | the bytes and `health` |
//! | fence in `enter_as_writer` | a byte that changed | that `writing` is not 0 |

mod read;
mod write;

use memoffset::offset_of;

use shmem_core::mem::Word;
use shmem_core::primitive::Ordering::{Relaxed, Release};
use shmem_core::{ControlWord, Corrupt, Incarnation, Window};

use super::DoorbellRef;
use crate::error::{AttachError, NotHeld};
use crate::health;
use crate::layout::{RwLockControl, READERS};
use crate::owner::Owner;
use crate::protected::{control, segment_len};

/// Bytes before those that the lock protects.
const CONTROL: usize = core::mem::size_of::<RwLockControl>();

/// Reader words in use. A model has two, because a writer can be interrupted at each word that it
/// checks.
const PLACES: usize = if cfg!(loom) { 2 } else { READERS };

/// The protocol of [`RwLock`](crate::RwLock), without a guard.
///
/// # Examples
///
/// ```
/// use shmem_core::{doorbell::NoDoorbell, mem::Heap, wait::Spin, Incarnation};
/// use shmem_sync::{raw::RawRwLock, Acquired, AssumeAlive};
///
/// let heap = Heap::new(RawRwLock::segment_len(0));
/// let lock = RawRwLock::attach(heap.window(), Incarnation::first(1), &NoDoorbell)?;
/// let (acquired, place) = lock.read(&mut Spin::forever(), &mut AssumeAlive)?;
/// assert_eq!(acquired, Acquired::Clean);
/// // SAFETY: locked for reading above, and nothing else unlocks it.
/// unsafe { lock.unlock_read(place)? };
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RawRwLock<'m> {
    incarnation: Incarnation,
    writer: Owner<'m>,
    health: Word<'m>,
    writing: Word<'m>,
    control: Window<'m>,
    bell: DoorbellRef<'m>,
}

impl<'m> RawRwLock<'m> {
    /// Returns the length of a segment whose lock protects `data` bytes.
    pub const fn segment_len(data: usize) -> usize {
        segment_len(CONTROL, data)
    }

    /// Returns the lock in `segment`, used by `incarnation`, which rings `bell` for those that
    /// wait. A zeroed segment is a free lock.
    ///
    /// # Errors
    ///
    /// [`AttachError::Length`] if the segment is shorter than the control block.
    pub fn attach(
        segment: Window<'m>,
        incarnation: Incarnation,
        bell: DoorbellRef<'m>,
    ) -> Result<Self, AttachError> {
        let control = control(segment, CONTROL)?;
        let writer = control.word(offset_of!(RwLockControl, writer));
        Ok(Self {
            incarnation,
            writer: Owner::new(writer, incarnation, ControlWord::RwlockWriter),
            health: control.word(offset_of!(RwLockControl, health)),
            writing: control.word(offset_of!(RwLockControl, writing)),
            control,
            bell,
        })
    }

    /// Rings `bell` from now on.
    pub fn set_bell(&mut self, bell: DoorbellRef<'m>) {
        self.bell = bell;
    }

    /// Returns the incarnation that writes, or waits to write: for inspection, it may have changed
    /// since.
    ///
    /// # Errors
    ///
    /// [`Corrupt`] if the word has a value that no honest partition stores.
    pub fn writer(&self) -> Result<Option<Incarnation>, Corrupt> {
        self.writer.holder()
    }

    /// Returns the incarnations in reader words, for inspection: they read, or are about to give up
    /// because of a writer. An incarnation that reads several times appears several times.
    pub fn readers(&self) -> impl Iterator<Item = Incarnation> + '_ {
        // relaxed: for inspection; it may have changed since.
        let found = |place| Incarnation::from_word(self.reader(place).load(Relaxed));
        (0..PLACES).filter_map(found)
    }

    fn reader(&self, place: usize) -> Word<'m> {
        let offset = offset_of!(RwLockControl, readers) + place * 4;
        self.control.word(offset)
    }

    /// Repairs the words that a dead writer left; the caller has its word now (L1).
    fn recover_dead_writer(&self) {
        // relaxed: a reader or writer loads `health` after a fence, which pairs with the exchange
        // in `clear_writing`. If a partition recovered the lock and died, `health` is already
        // correct.
        let writing = self.writing.load(Relaxed);
        if writing != 0 {
            // The next holder gets this error itself.
            let _ = health::claim_if_suspect(self.health, HEALTH, &self.writer, true);
            self.clear_writing(writing);
        }
    }

    /// Clears `writing` if it contains `writer`.
    fn clear_writing(&self, writer: u32) {
        // Release: pairs with the load in `recover_dead_writer`, and the fence after it in
        // `enter_as_writer` or `check_for_writer`. A partition that takes over from us now sees our
        // writes, and whether they are suspect.
        // loom: loom_rwlock
        // relaxed: on failure, another has cleared it, and nothing depends on that.
        let _ = self.writing.compare_exchange(writer, 0, Release, Relaxed);
    }

    /// Releases the writer's word, and wakes all that sleep on it.
    fn release_writer(&self) -> Result<(), NotHeld> {
        if self.writer.release()? {
            self.bell.ring_all(self.writer.word().as_atomic());
        }
        Ok(())
    }
}

/// The name of the word in `docs/layout.md`.
const HEALTH: ControlWord = ControlWord::RwlockHealth;

/// Returns the error for a reader word that no honest partition leaves.
fn bad_reader(value: u32) -> Corrupt {
    let word = ControlWord::RwlockReader;
    Corrupt { word, value }
}
