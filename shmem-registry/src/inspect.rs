//! The tables as a third party sees them: by loads alone, whatever they hold.
//!
//! [`Registry::segments`] lists what is in the table; this shows the table itself,
//! for tools that say what is wrong with it. Words are loaded one after another
//! while others change them: what looks wrong at one look and not at the next was
//! in motion.

use memoffset::offset_of;

use shmem_core::mem::Word;
use shmem_core::primitive::Ordering::{Acquire, Relaxed};
use shmem_core::{Corrupt, Incarnation};

use crate::chain::{Step, Walk};
use crate::error::OpenError;
use crate::geometry::TableLayout;
use crate::id::{Kind, Name};
use crate::layout::{Row, PARTITIONS};
use crate::link::Link;
use crate::memory::{Registry, NAMED};
use crate::segment::Segment;

/// Looks at a row before one in use is said to be in motion.
const ATTEMPTS: usize = 16;

/// Where the parts of a registry lie, bytes from the region's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tables {
    /// The partitions' slots.
    pub partitions: usize,
    /// The buckets of the index.
    pub index: usize,
    /// How many buckets.
    pub buckets: usize,
    /// The rows.
    pub rows: usize,
    /// The map of blocks.
    pub map: usize,
    /// The first block.
    pub data: usize,
    /// How many blocks.
    pub blocks: usize,
}

/// The words of a row, none of them checked, and the segment that they describe.
#[derive(Clone, Copy)]
pub struct RowWords<'m> {
    /// The row's number.
    pub row: usize,
    /// The incarnation that works on it; 0 is nobody.
    pub owner: u32,
    /// Bit 0: it names a segment; bits 1 to 31: its generation.
    pub state: u32,
    /// Its link, bit 31 if it was removed.
    pub next: u32,
    /// What the segment holds.
    pub kind: Kind,
    /// The identifier; 0 is none.
    pub id: u64,
    /// Number of the first block.
    pub first_block: u32,
    /// Bytes asked for.
    pub length: u32,
    /// The name; empty if it was made without one.
    pub name: Name,
    /// What a lookup makes of these words.
    pub segment: Result<Segment<'m>, OpenError>,
    /// Whether the row was used anew under every look: the words do not belong together.
    pub moving: bool,
}

impl RowWords<'_> {
    /// Who works on it; `None` if nobody does, or the word is no incarnation's.
    pub fn owner(&self) -> Option<Incarnation> {
        Incarnation::from_word(self.owner)
    }

    /// Whether it names a segment.
    pub fn is_named(&self) -> bool {
        self.state & NAMED != 0
    }

    /// How often the row was used before.
    pub fn generation(&self) -> u32 {
        self.state >> 1
    }

    /// Whether `linked` leads to this use of the row.
    pub fn is_linked_by(&self, linked: &Linked) -> bool {
        let link = Link::to(linked.row, linked.generation);
        self.row == linked.row && link.leads_to(self.generation())
    }

    /// Whether the segment it names was removed, and the row not yet taken down.
    pub fn is_removed(&self) -> bool {
        self.is_named() && Link(self.next).is_marked()
    }
}

/// A row as its chain leads to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Linked {
    /// The row's number.
    pub row: usize,
    /// Its generation.
    pub generation: u32,
    /// Its identifier; 0 is none.
    pub id: u64,
    /// Whether it was removed, and not yet taken out of the chain.
    pub removed: bool,
}

/// Why a chain ends before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainFault {
    /// It leads to a row that is used for something else by now.
    Changed,
    /// It leads round in a circle.
    Circle {
        /// A row of the circle.
        row: usize,
    },
    /// It leads to a row that there is not.
    Corrupt(Corrupt),
}

/// The rows of a bucket; see [`Registry::chain`].
pub struct Chain<'m> {
    registry: Registry<'m>,
    walk: Option<Walk<'m>>,
    left: usize,
}

impl<'m> Registry<'m> {
    /// Where its parts lie.
    pub fn tables(&self) -> Tables {
        let TableLayout {
            geometry,
            index,
            rows,
            map,
            data,
            blocks,
            ..
        } = self.places;
        Tables {
            partitions: PARTITIONS,
            index,
            buckets: TableLayout::index_len(geometry),
            rows,
            map,
            data,
            blocks,
        }
    }

    /// Every row, used or not.
    pub fn rows(&self) -> impl Iterator<Item = RowWords<'m>> {
        let registry = *self;
        (0..self.places.geometry.segments).map_while(move |row| registry.row_words(row))
    }

    /// The words of a row; `None` if there is no such row.
    pub fn row_words(&self, row: usize) -> Option<RowWords<'m>> {
        if row >= self.places.geometry.segments {
            return None;
        }
        let mut attempt = 1;
        loop {
            let words = self.glance(row);
            if !words.moving || attempt == ATTEMPTS {
                return Some(words);
            }
            attempt += 1;
        }
    }

    /// The rows that are linked in `bucket`, removed ones too; at most as many as
    /// there are rows. It has no rows if there is no such bucket.
    pub fn chain(&self, bucket: usize) -> Chain<'m> {
        let exists = bucket < TableLayout::index_len(self.places.geometry);
        Chain {
            registry: *self,
            walk: exists.then(|| self.walk(self.bucket_word(bucket))),
            left: self.places.geometry.segments,
        }
    }

    /// The word of a block, for [`BlockOwner::from_word`](crate::BlockOwner::from_word); `None` if
    /// there is no such block.
    pub fn block_word(&self, block: usize) -> Option<u32> {
        let exists = block < self.places.blocks;
        // relaxed: for inspection; it may be old when it is returned.
        exists.then(|| self.blocks().word(block).load(Relaxed))
    }

    fn glance(&self, row: usize) -> RowWords<'m> {
        // relaxed: the state is loaded before it, and again after the fence in `generation_matches`.
        let load = |word: Word<'_>| word.load(Relaxed);
        let field = |field| load(self.row(row, field));
        // Acquire: pairs with the exchange in `change_state`; the words are of that use of the
        // row, or of a later one, which `generation_matches` finds out.
        // loom: none (for inspection)
        let state = self.state(row).load(Acquire);
        let id = self.id_in(row);
        let segment = self.read_segment(row, id, state >> 1);
        let name_at = self.row_at(row) + offset_of!(Row, name);
        let words = RowWords {
            row,
            owner: load(self.owner(row)),
            state,
            next: self.link_of(row).0,
            kind: Kind(field(offset_of!(Row, kind))),
            id,
            first_block: field(offset_of!(Row, first_block)),
            length: field(offset_of!(Row, length)),
            name: Name::read(self.memory(), name_at),
            segment: segment.map_err(OpenError::Corrupt),
            moving: false,
        };
        // If anything above is of another use of the row, so is its state now (T2).
        RowWords {
            moving: !self.generation_matches(row, state),
            ..words
        }
    }
}

impl Iterator for Chain<'_> {
    type Item = Result<Linked, ChainFault>;

    fn next(&mut self) -> Option<Self::Item> {
        let walk = self.walk.as_mut()?;
        let step = match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                walk.step(&self.registry)
            }
            // Rows leave the chain and come back at its end.
            None => Ok(Step::Changed),
        };
        let fault = match step {
            Ok(Step::Node(node)) => {
                return Some(Ok(Linked {
                    row: node.row,
                    generation: node.state >> 1,
                    id: node.id,
                    removed: node.next.is_marked(),
                }))
            }
            Ok(Step::End) => None,
            Ok(Step::Changed) => Some(Err(ChainFault::Changed)),
            Err(corrupt) => Some(Err(match Link(corrupt.value).row() {
                row if row < self.registry.places.geometry.segments => ChainFault::Circle { row },
                _ => ChainFault::Corrupt(corrupt),
            })),
        };
        self.walk = None;
        fault
    }
}
