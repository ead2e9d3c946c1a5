//! Many readers or one writer, partitions that may die inside.
//!
//! | `writer` | `writing` | reader words | meaning                                         |
//! |----------|-----------|--------------|-------------------------------------------------|
//! | 0        | 0         | any          | free, or read                                   |
//! | *l*      | 0         | some         | *l* waits for the readers; no new one gets in   |
//! | *l*      | *l*       | none         | *l* writes                                      |
//! | *l*, gone | 0        | any          | *l* died waiting: nothing is suspect            |
//! | *l*, gone | not 0    | any          | one died writing: whoever takes over puts its incarnation in `health` |
//!
//! What becomes of `writer`, who sleeps on it and who is woken: `owner.rs`; here
//! all sleepers are woken, because readers are among them. Of `health`: [`crate::health`].
//!
//! - **L1** Who has `writer` alone stores `health` and `writing`; a writer that waits
//!   stores neither.
//! - **L2** A reader is inside if it claimed a reader word and `writer` was 0 behind
//!   that; a writer, if it took `writer` and every reader word was 0 behind that.
//! - **L3** `writing` is the writer's incarnation while it touches the bytes. It becomes 0 by
//!   an exchange of that incarnation, of who leaves, or of any other value, of who takes over.
//! - **L4** A reader word goes from 0 to the incarnation that claims it, and back by that
//!   incarnation, or by anybody once it is gone; always by an exchange of the exact word.
//!
//! All stores are exchanges of words with the caller's own incarnation, but for two of a writer:
//! *writing* from 0, and *suspect* from whole. Made late, by one that was said to be gone
//! while it lived, they cause a warning without need ([`crate::health`]), and hide none.
//!
//! ```text
//!   reader                       writer
//!   reader word = incarnation           writer = incarnation
//!   fence(SeqCst)                fence(SeqCst)
//!   writer 0? -> inside          reader words 0? -> inside
//!
//!   reader that leaves           writer
//!   reader word = 0              writer = incarnation
//!   fence(SeqCst)                fence(SeqCst)
//!   writer there? -> ring        reader word not 0? -> sleep on it
//! ```
//!
//! The two fences are ordered one before the other, so that at most one of the two
//! gets in, and at least one of ring and no sleep happens.
//!
//! | store                       | paired load             | hands over                 |
//! |-----------------------------|-------------------------|----------------------------|
//! | `writer` in `Owner::free`   | `writer` in `Owner::exchange`, `look` | the bytes and `health`, to writers and readers |
//! | reader word in `unlock_read` | reader word in `drain` | the bytes, to a writer; exchanges between continue it |
//! | `writing` in `clear_writing`         | `writing` in `recover_dead_writer`, and the fence of whoever goes in | the bytes and `health`, where the writer died right behind it |
//! | fence in `enter_as_writer`            | whoever saw the bytes change | that `writing` is not 0 |

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

/// Bytes in front of what the lock protects.
const CONTROL: usize = core::mem::size_of::<RwLockControl>();

/// Reader words in use. A model has two, because each that a writer looks at is a
/// place where it could be interrupted.
const PLACES: usize = if cfg!(loom) { 2 } else { READERS };

/// The protocol of [`RwLock`](crate::RwLock), without a guard.
///
/// # Examples
///
/// ```
/// use shmem_core::{doorbell::Silent, mem::Heap, wait::Spin, Incarnation};
/// use shmem_sync::{raw::RawRwLock, Acquired, AssumeAlive};
///
/// let heap = Heap::new(RawRwLock::segment_len(0));
/// let lock = RawRwLock::attach(heap.window(), Incarnation::first(1), &Silent)?;
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
    /// Bytes of a segment whose lock protects `data` bytes.
    pub const fn segment_len(data: usize) -> usize {
        segment_len(CONTROL, data)
    }

    /// The lock in `segment`, used by `incarnation`, which rings `bell` for those that wait. A
    /// zeroed segment is a free lock.
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

    /// Which incarnation writes, or waits to: for inspection, it may have changed since.
    ///
    /// # Errors
    ///
    /// [`Corrupt`] if no honest partition puts there what is there.
    pub fn writer(&self) -> Result<Option<Incarnation>, Corrupt> {
        self.writer.holder()
    }

    /// Which incarnations read, or are about to find that they may not: for inspection. One
    /// that reads several times is there as often.
    pub fn readers(&self) -> impl Iterator<Item = Incarnation> + '_ {
        // relaxed: for inspection; it may have changed since.
        let found = |place| Incarnation::from_word(self.reader(place).load(Relaxed));
        (0..PLACES).filter_map(found)
    }

    fn reader(&self, place: usize) -> Word<'m> {
        let offset = offset_of!(RwLockControl, readers) + place * 4;
        self.control.word(offset)
    }

    /// Puts what a dead writer left in order, for one who has its word now (L1).
    fn recover_dead_writer(&self) {
        // relaxed: whoever goes in reads `health` behind a fence, which pairs with the
        // exchange in `clear_writing`: one that put the lock in order and died has left it as it
        // is to be.
        let writing = self.writing.load(Relaxed);
        if writing != 0 {
            // What it says is said again to whoever gets in.
            let _ = health::claim_if_suspect(self.health, HEALTH, &self.writer, true);
            self.clear_writing(writing);
        }
    }

    /// Says that `writer`, as `writing` has it, is not writing any more.
    fn clear_writing(&self, writer: u32) {
        // Release: pairs with the load in `recover_dead_writer`, and the fence in `enter_as_writer` or
        // `check_for_writer` behind it; what we wrote, and that it is suspect, is seen
        // by one who takes over from us now.
        // loom: loom_rwlock
        // relaxed: on failure, another has done it, and nothing follows from it.
        let _ = self.writing.compare_exchange(writer, 0, Release, Relaxed);
    }

    /// Releases the writer's word, and wakes all who sleep on it.
    fn release_writer(&self) -> Result<(), NotHeld> {
        if self.writer.release()? {
            self.bell.ring_all(self.writer.word().as_atomic());
        }
        Ok(())
    }
}

/// As `docs/layout.md` names the word.
const HEALTH: ControlWord = ControlWord::RwlockHealth;

/// A reader word that no honest partition leaves.
fn bad_reader(value: u32) -> Corrupt {
    let word = ControlWord::RwlockReader;
    Corrupt { word, value }
}
