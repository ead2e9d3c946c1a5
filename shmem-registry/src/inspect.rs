//! The tables of a registry, read by loads alone, whatever they contain.
//!
//! [`Registry::segments`] lists the segments. This module shows the tables themselves, for tools
//! that report what is wrong with them. Words are loaded one after another while others change
//! them. If something looks wrong in one check and not in the next, it was being changed.

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

/// The most attempts at reading a row that is used again meanwhile.
const ATTEMPTS: usize = 16;

/// Where the parts of a registry lie, in bytes from the region's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tables {
    /// The partitions' slots.
    pub partitions: usize,
    /// The buckets of the index.
    pub index: usize,
    /// The number of buckets.
    pub buckets: usize,
    /// The rows.
    pub rows: usize,
    /// The map of blocks.
    pub map: usize,
    /// The first block.
    pub data: usize,
    /// The number of blocks.
    pub blocks: usize,
}

/// The words of a row, unchecked, and the segment that they describe.
#[derive(Clone, Copy)]
pub struct RowWords<'m> {
    /// The row's number.
    pub row: usize,
    /// The incarnation that works on the row; 0 if none does.
    pub owner: u32,
    /// Bit 0: the row names a segment. Bits 1 to 31: its generation.
    pub state: u32,
    /// The link to the next row, with bit 31 set if the segment was removed.
    pub next: u32,
    /// The kind of the segment's content.
    pub kind: Kind,
    /// The identifier; 0 if the row has none.
    pub id: u64,
    /// Number of the first block.
    pub first_block: u32,
    /// The segment's length in bytes.
    pub length: u32,
    /// The name; empty if the segment was created without one.
    pub name: Name,
    /// What a lookup returns for these words.
    pub segment: Result<Segment<'m>, OpenError>,
    /// True if the row was used again in every attempt: the words do not belong together.
    pub moving: bool,
}

impl RowWords<'_> {
    /// Returns the incarnation that works on the row; `None` if no partition does, or the word is
    /// not an incarnation.
    pub fn owner(&self) -> Option<Incarnation> {
        Incarnation::from_word(self.owner)
    }

    /// Returns true if the row names a segment.
    pub fn is_named(&self) -> bool {
        self.state & NAMED != 0
    }

    /// Returns the generation of the row: how many times the row was used before.
    pub fn generation(&self) -> u32 {
        self.state >> 1
    }

    /// Returns true if `linked` names this use of the row.
    pub fn is_linked_by(&self, linked: &Linked) -> bool {
        let link = Link::to(linked.row, linked.generation);
        self.row == linked.row && link.leads_to(self.generation())
    }

    /// Returns true if the segment that the row names was removed and the row is not taken down
    /// yet.
    pub fn is_removed(&self) -> bool {
        self.is_named() && Link(self.next).is_marked()
    }
}

/// A row as it is linked in its chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Linked {
    /// The row's number.
    pub row: usize,
    /// The row's generation.
    pub generation: u32,
    /// The row's identifier; 0 if it has none.
    pub id: u64,
    /// True if its segment was removed and the row is not unlinked yet.
    pub removed: bool,
}

/// Why a chain could not be walked to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainFault {
    /// The chain leads to a row that is in another use now.
    Changed,
    /// The chain is circular.
    Cycle {
        /// A row of the cycle.
        row: usize,
    },
    /// The chain leads to a row number that does not exist.
    Corrupt(Corrupt),
}

/// The rows of a bucket; see [`Registry::chain`].
pub struct Chain<'m> {
    registry: Registry<'m>,
    walk: Option<Walk<'m>>,
    left: usize,
}

impl<'m> Registry<'m> {
    /// Returns where the parts of the registry lie.
    pub fn tables(&self) -> Tables {
        let TableLayout {
            geometry,
            index,
            rows,
            map,
            data,
            blocks,
            ..
        } = self.layout;
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

    /// Returns every row, used or free.
    pub fn rows(&self) -> impl Iterator<Item = RowWords<'m>> {
        let registry = *self;
        (0..self.layout.geometry.segments).map_while(move |row| registry.row_words(row))
    }

    /// Reads the words of a row; returns `None` if there is no such row.
    pub fn row_words(&self, row: usize) -> Option<RowWords<'m>> {
        if row >= self.layout.geometry.segments {
            return None;
        }
        let mut attempt = 1;
        loop {
            let words = self.read_row(row);
            if !words.moving || attempt == ATTEMPTS {
                return Some(words);
            }
            attempt += 1;
        }
    }

    /// Returns the rows that are linked in `bucket`, including removed ones, and at most as many as
    /// there are rows. It is empty if there is no such bucket.
    pub fn chain(&self, bucket: usize) -> Chain<'m> {
        let exists = bucket < TableLayout::index_len(self.layout.geometry);
        Chain {
            registry: *self,
            walk: exists.then(|| self.walk(self.bucket_word(bucket))),
            left: self.layout.geometry.segments,
        }
    }

    /// Loads the word of a block, for [`BlockOwner::from_word`](crate::BlockOwner::from_word).
    /// Returns `None` if there is no such block.
    pub fn block_word(&self, block: usize) -> Option<u32> {
        let exists = block < self.layout.blocks;
        // relaxed: for inspection; it may have changed when it is returned.
        exists.then(|| self.blocks().word(block).load(Relaxed))
    }

    fn read_row(&self, row: usize) -> RowWords<'m> {
        // relaxed: the state is loaded before it, and again after the fence in
        // `generation_matches`.
        let load = |word: Word<'_>| word.load(Relaxed);
        let field = |field| load(self.row(row, field));
        // Acquire: pairs with the exchange in `change_state`. The words belong to that use of the
        // row, or to a later one, which `generation_matches` detects.
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
        // If a word above belongs to another use of the row, its state has changed (T2).
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
                row if row < self.registry.layout.geometry.segments => ChainFault::Cycle { row },
                _ => ChainFault::Corrupt(corrupt),
            })),
        };
        self.walk = None;
        fault
    }
}
