//! The chains of rows: who is in the table.
//!
//! Each bucket of the index heads a chain; a row's `next` goes on. A row enters
//! at its chain's end by one compare-and-swap and leaves by one that marks its
//! own `next`; whoever changes the table next takes marked rows out of the
//! chain (Harris, *A pragmatic implementation of non-blocking linked lists*,
//! 2001, with the chain's end as the one place to insert).
//!
//! - **C1** A row is linked by its owner only, at the end of its identifier's
//!   chain, after that chain was seen to hold no live row of the identifier: two
//!   that insert one identifier meet at one word.
//! - **C2** A row whose `next` is marked is not in the table. A marked `next`
//!   does not change until the row is used again.
//! - **C3** A link names a row and the generation it was linked in; the end of a
//!   chain names the generation of the row whose `next` it is. So a word that
//!   belongs to another use of a row is not taken for this one's, up to 2^14 uses.
//! - **C4** A reader holds no row: what it read of one counts if the row's
//!   generation is the link's afterwards.
//!
//! | store                        | paired load                | hands over          |
//! |------------------------------|----------------------------|---------------------|
//! | link in `insert`, `unlink`   | link in `Walk`             | a row and its zeroed segment |
//! | fence in `claim_row`, row    | row, fence in `is_of`      | that a row is used again |

use memoffset::offset_of;

use shmem_core::mem::Word;
use shmem_core::primitive::{
    fence, spin_loop,
    Ordering::{Acquire, Relaxed, Release},
};
use shmem_core::{ControlWord, Corrupt};

use crate::id::Id;
use crate::layout::Row;
use crate::table::Registry;

/// How often a walk starts again because the chain changed under it.
const RESTARTS: usize = 64;

/// A word that links to a row.
///
/// Bits 0 to 16: the row's number + 1, or 0 at the end of a chain. Bits 17 to
/// 30: a generation (C3). Bit 31: the row whose `next` it is is removed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link(pub(crate) u32);

impl Link {
    const MARK: u32 = 1 << 31;
    const NUMBER: u32 = (1 << 17) - 1;
    const GENERATION: u32 = (1 << 14) - 1;

    pub(crate) fn to(row: usize, generation: u32) -> Self {
        Self((generation & Self::GENERATION) << 17 | (row as u32 + 1))
    }

    /// The end of a chain, behind a row of this generation.
    pub(crate) fn end(generation: u32) -> Self {
        Self((generation & Self::GENERATION) << 17)
    }

    pub(crate) fn is_marked(self) -> bool {
        self.0 & Self::MARK != 0
    }

    pub(crate) fn marked(self) -> Self {
        Self(self.0 | Self::MARK)
    }

    fn unmarked(self) -> Self {
        Self(self.0 & !Self::MARK)
    }

    fn is_end(self) -> bool {
        self.0 & Self::NUMBER == 0
    }

    fn generation(self) -> u32 {
        self.0 >> 17 & Self::GENERATION
    }
}

/// What one row of a chain says.
#[derive(Clone, Copy)]
pub(crate) struct Node {
    pub(crate) row: usize,
    /// The generation that its link names, 14 bits.
    pub(crate) version: u32,
    pub(crate) next: Link,
    pub(crate) id: u64,
}

/// Where an identifier belongs.
pub(crate) enum Place<'m> {
    /// This row is the identifier's.
    Found(Node),
    /// It has none; this word is the end of its chain.
    End(Word<'m>, Link),
}

/// Why a walk came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// The chain changed under every attempt.
    Contended,
    Corrupt(Corrupt),
}

impl<'m> Registry<'m> {
    fn next(&self, row: usize) -> Word<'m> {
        self.row(row, offset_of!(Row, next))
    }

    fn bucket(&self, id: u64) -> Word<'m> {
        let hash = id.wrapping_mul(0x9e37_79b9_7f4a_7c15); // Spreads numbers that count up.
        let bucket = (hash >> (64 - self.places.index_bits())) as usize;
        self.bucket_word(bucket)
    }

    pub(crate) fn bucket_word(&self, bucket: usize) -> Word<'m> {
        self.memory.word(self.places.index + bucket * 4)
    }

    /// Reads the row that `link` names; `None` if it is used for something else by now.
    #[inline]
    pub(crate) fn node(&self, link: Link) -> Result<Option<Node>, Corrupt> {
        let row = (link.0 & Link::NUMBER).wrapping_sub(1) as usize;
        if row >= self.places.geometry.segments {
            return Err(Corrupt {
                word: ControlWord::Link,
                value: link.0,
            });
        }
        let load = |field| self.row(row, field).load(Relaxed);
        let low = load(offset_of!(Row, id_low));
        let high = load(offset_of!(Row, id_high));
        let node = Node {
            row,
            version: link.generation(),
            // Relaxed: the fence in `is_of` lets us see what is behind it.
            next: self.link_of(row),
            id: u64::from(high) << 32 | u64::from(low),
        };
        Ok(self.is_of(row, node.version).then_some(node))
    }

    /// Whether what was read of `row` until now is of the generation (C4).
    #[inline]
    pub(crate) fn is_of(&self, row: usize, version: u32) -> bool {
        // Pairs with the fence in `claim_row`: if anything that was read is of a
        // later use, its generation is seen, too. And, where its `next` was read,
        // with the exchanges in `insert` and `unlink`.
        fence(Acquire); // loom: loom_removal::a_reader_never_takes_the_rows_next_segment_for_its_own
        let state = self.row(row, offset_of!(Row, state)).load(Relaxed);
        state >> 1 & Link::GENERATION == version
    }

    /// Walks to the row of `id`. Only loads.
    #[inline]
    pub(crate) fn find(&self, id: Id) -> Result<Option<Node>, Lost> {
        let mut lost = Lost::Contended;
        for _ in 0..RESTARTS {
            let mut walk = self.walk(self.bucket(id.get()));
            loop {
                match walk.step(self).map_err(Lost::Corrupt)? {
                    Step::Node(node) if node.id == id.get() && !node.next.is_marked() => {
                        return Ok(Some(node))
                    }
                    Step::Node(_) => {}
                    Step::End => return Ok(None),
                    Step::Changed => {
                        lost = Lost::Contended;
                        break;
                    }
                    // Of rows that leave and come back behind us, or of a circle.
                    Step::Lapped(corrupt) => {
                        lost = Lost::Corrupt(corrupt);
                        break;
                    }
                }
            }
            spin_loop();
        }
        Err(lost)
    }

    /// A walk along the chain that `head` starts.
    #[inline]
    pub(crate) fn walk(&self, head: Word<'m>) -> Walk {
        Walk {
            // Pairs with the exchanges in `insert` and `unlink`.
            link: Link(head.load(Acquire)), // loom: loom_removal::a_reader_never_takes_the_rows_next_segment_for_its_own
            left: self.places.geometry.segments,
        }
    }

    /// Walks to the row of `id` or to the end of its chain, and takes marked rows
    /// out on the way.
    pub(crate) fn locate(&self, id: u64) -> Result<Place<'m>, Lost> {
        for _ in 0..RESTARTS {
            if let Some(place) = self.try_to_locate(id).map_err(Lost::Corrupt)? {
                return Ok(place);
            }
            spin_loop();
        }
        Err(Lost::Contended)
    }

    fn try_to_locate(&self, id: u64) -> Result<Option<Place<'m>>, Corrupt> {
        let mut word = self.bucket(id);
        let mut front: Option<Node> = None; // The row whose `next` is `word`.
                                            // Forward, or once more where somebody else was faster.
        for _ in 0..2 * self.places.geometry.segments + RESTARTS {
            // Pairs with the exchanges in `insert` and `unlink`.
            let link = Link(word.load(Acquire)); // loom: loom_registry::two_creators_of_one_identifier_get_one_segment_and_leak_nothing
            let is_there = |front: Node| self.is_of(front.row, front.version);
            if link.is_marked() || !front.map_or(true, is_there) {
                return Ok(None); // The row in front is not in the table any more.
            }
            if link.is_end() {
                return Ok(Some(Place::End(word, link)));
            }
            let Some(node) = self.node(link)? else {
                return Ok(None);
            };
            if node.next.is_marked() {
                unlink(word, link, node.next, front);
            } else if node.id == id {
                return Ok(Some(Place::Found(node)));
            } else {
                word = self.next(node.row);
                front = Some(node);
            }
        }
        Ok(None) // A circle, too: `find` says so.
    }
}

/// Takes the marked row that `link` names out of its chain, unless `word` is
/// not `link` any more.
fn unlink(word: Word<'_>, link: Link, next: Link, front: Option<Node>) {
    let behind = if next.is_end() {
        Link::end(front.map_or(0, |front| front.version)) // C3
    } else {
        next.unmarked()
    };
    // Release: passes on the row behind, which we have seen whole.
    let _ = word.compare_exchange(link.0, behind.0, Release, Relaxed); // loom: loom_removal::a_row_behind_one_that_is_taken_out_is_whole
}

/// A walk along a chain, by loads alone.
pub(crate) struct Walk {
    link: Link,
    left: usize,
}

/// What a step of a walk came to.
pub(crate) enum Step {
    Node(Node),
    End,
    /// The row is used for something else by now: the walk is off its chain.
    Changed,
    /// More steps than rows: they left the chain and came back at its end, or it is a circle.
    Lapped(Corrupt),
}

impl Walk {
    #[inline]
    pub(crate) fn step(&mut self, registry: &Registry<'_>) -> Result<Step, Corrupt> {
        if self.link.is_end() {
            return Ok(Step::End);
        }
        if self.left == 0 {
            return Ok(Step::Lapped(Corrupt {
                word: ControlWord::Link,
                value: self.link.0,
            }));
        }
        self.left -= 1;
        let Some(node) = registry.node(self.link)? else {
            return Ok(Step::Changed);
        };
        self.link = node.next.unmarked();
        Ok(Step::Node(node))
    }
}
