//! The chains of rows: which rows are in the table.
//!
//! Each bucket of the index is the head of a chain, and each row's `next` links to the row after
//! it. A row enters at the end of its chain by one compare-and-swap. It leaves by one that marks
//! its own `next`; the next partition that changes the chain unlinks marked rows (Harris, *A
//! pragmatic implementation of non-blocking linked lists*, 2001; rows are inserted only at the
//! end).
//!
//! - **C1** A row is linked by its owner only, at the end of its identifier's chain, after the
//!   owner saw that no row of the chain has the identifier. So two partitions that insert one
//!   identifier contend for one word.
//! - **C2** A row whose `next` is marked is not in the table. A marked `next`
//!   does not change until the row is used again.
//! - **C3** A link names a row and the generation in which it was linked; the end of a chain names
//!   the generation of the row whose `next` it is. So a word of another use of a row is not
//!   mistaken for a word of this use, for up to 2^14 uses.
//! - **C4** A reader owns no row. What it read of a row is valid if the row's state was the same
//!   before and after, and its generation is the link's.
//! - **C5** A row leaves its chain before its generation changes. So a link to an earlier use of a
//!   row, in a word that does not belong to a removed row, is *stale*: a creator that was evicted
//!   stored it late. It counts as the end of the chain, and the next row replaces it.
//!
//! | store | paired load | hands over |
//! |-------|-------------|------------|
//! | link in `insert`, `unlink` | link in `try_to_locate` | a row and its zeroed segment |
//! | `state` in `prepare` | `state` in `read_node` | a row and its segment, to readers |
//! | fence in `claim_row`, row | row, fence in `generation_matches` | that a row is used again |
//! | `state` in `retire` | `state`, fence, link in `is_stale_link` | that the row left its chain |

use shmem_core::mem::Word;
use shmem_core::primitive::{
    fence, spin_loop,
    Ordering::{Acquire, Relaxed, Release},
};
use shmem_core::{ControlWord, Corrupt};

use crate::error::WalkError;
use crate::id::Id;
use crate::link::Link;
use crate::memory::{Registry, NAMED};

/// The most attempts at a walk: it starts again if the chain changed.
pub(crate) const RESTARTS: usize = 64;

/// The most rows that a fast walk reads: in a full table two chains of 10,000 are longer.
const FAST_STEPS: usize = 4;

/// The most passes over the whole table that one call makes, in all its attempts.
pub(crate) const PASSES: usize = 4;

/// The words of one row of a chain.
#[derive(Clone, Copy)]
pub(crate) struct Node {
    pub(crate) row: usize,
    /// Its state: identifies the use of the row that was read.
    pub(crate) state: u32,
    pub(crate) next: Link,
    pub(crate) id: u64,
}

impl Node {
    /// Returns true if `link` names the use of the row that was read.
    #[inline]
    pub(crate) fn is_linked_by(&self, link: Link) -> bool {
        self.state & NAMED != 0 && link.leads_to(self.state >> 1)
    }
}

/// The result of a walk for an identifier.
pub(crate) enum Position<'m> {
    /// This row has the identifier.
    Found(Node),
    /// No row has it; this word is the end of its chain.
    End(Word<'m>, Link),
}

impl<'m> Registry<'m> {
    /// Returns the bucket in which the lookup of an identifier starts.
    #[inline]
    pub fn bucket_of(&self, id: u64) -> usize {
        let hash = id.wrapping_mul(0x9e37_79b9_7f4a_7c15); // Spreads consecutive numbers.
        (hash >> self.layout.hash_shift) as usize
    }

    /// Reads the row that `link` names; returns `None` if the row is in another use now.
    #[inline]
    pub(crate) fn node(&self, link: Link) -> Result<Option<Node>, Corrupt> {
        let row = link.row();
        if row >= self.layout.geometry.segments {
            return Err(Corrupt {
                word: ControlWord::Link,
                value: link.0,
            });
        }
        let node = self.read_node(row);
        Ok((node.is_linked_by(link) && self.generation_matches(row, node.state)).then_some(node))
    }

    /// Reads the chain words of a row; they are valid if [`Self::generation_matches`] confirms the
    /// state afterwards (C4).
    #[inline(always)]
    pub(crate) fn read_node(&self, row: usize) -> Node {
        // Acquire: pairs with the exchange in `change_state`. What is read after it belongs to that
        // use of the row, or to a later one, which `generation_matches` detects.
        // loom: loom_removal::a_reader_never_returns_the_next_segment_of_a_row
        let state = self.state(row).load(Acquire);
        Node {
            row,
            state,
            // The fence in `generation_matches` orders what is read of the next row after this.
            next: self.link_of(row),
            id: self.id_in(row),
        }
    }

    /// Returns true if everything read of `row` so far belongs to the use with this state (C4).
    #[inline]
    pub(crate) fn generation_matches(&self, row: usize, state: u32) -> bool {
        // Pairs with the fence in `claim_row`: if anything that was read belongs to a later use,
        // the load below finds its generation. If the row's `next` was read, it also pairs with the
        // exchanges in `insert` and `unlink`.
        // loom: loom_removal::a_reader_never_returns_the_next_segment_of_a_row
        fence(Acquire);
        self.state(row).load(Relaxed) == state // relaxed: the fence is before it
    }

    /// Returns true if `word` still contains `link`, which names an earlier use of its row (C5).
    #[cold]
    fn is_stale_link(&self, word: Word<'m>, link: Link) -> bool {
        // Pairs with the exchange in `change_state`: the row had left its chain by then. And with
        // the one in `insert`: a row that was linked just now is visible completely.
        // loom: loom_removal::two_creators_in_one_chain_both_stay_in_it
        fence(Acquire);
        // Acquire: as the fence, if the generation changed after the fence.
        // loom: none (the address of the state follows from the link)
        let state = self.state(link.row()).load(Acquire);
        let is_linked = state & NAMED != 0 && link.leads_to(state >> 1);
        // relaxed: the fence is before it. A row whose generation was seen to have changed before
        // the fence had left `word`.
        !is_linked && Link(word.load(Relaxed)).unmarked() == link.unmarked()
    }

    /// Walks to the row of `id` in a few steps; returns `Changed` if that does not decide, for any
    /// reason.
    ///
    /// A row that is found is not confirmed yet: the caller reads the rest of it, then calls
    /// [`Self::generation_matches`] once for the whole row (C4).
    #[inline(always)]
    pub(crate) fn find_fast(&self, id: Id) -> Step {
        let bucket = self.bucket_of(id.get());
        // relaxed: as in `walk`.
        let mut link = Link(self.bucket_word(bucket).load(Relaxed));
        for _ in 0..FAST_STEPS {
            if link.is_end() {
                return Step::End;
            }
            let row = link.row();
            if row >= self.layout.geometry.segments {
                break;
            }
            let node = self.read_node(row);
            if !node.is_linked_by(link) {
                break;
            }
            if node.id == id.get() {
                if node.next.is_marked() {
                    break;
                }
                return Step::Node(node);
            }
            if !self.generation_matches(row, node.state) || self.bucket_of(node.id) != bucket {
                break;
            }
            link = node.next.unmarked();
        }
        Step::Changed
    }

    /// Walks to the row of `id`. Only loads.
    #[inline]
    pub(crate) fn find(&self, id: Id) -> Result<Option<Node>, WalkError> {
        self.find_within(id, &mut (PASSES * self.layout.geometry.segments + RESTARTS))
    }

    /// As [`Self::find`], in at most `steps` steps, which it counts down.
    #[inline]
    pub(crate) fn find_within(&self, id: Id, steps: &mut usize) -> Result<Option<Node>, WalkError> {
        let bucket = self.bucket_of(id.get());
        for _ in 0..RESTARTS {
            let mut walk = self.walk(self.bucket_word(bucket));
            loop {
                if *steps == 0 {
                    return Err(WalkError::Contended);
                }
                *steps -= 1;
                match walk.step(self)? {
                    Step::Node(node) if node.id == id.get() && !node.next.is_marked() => {
                        return Ok(Some(node))
                    }
                    // An earlier use of the row may have led into another chain.
                    Step::Node(node) if self.bucket_of(node.id) != bucket => break,
                    Step::Node(_) => {}
                    Step::End => return Ok(None),
                    Step::Changed => break,
                }
            }
            spin_loop();
        }
        Err(WalkError::Contended)
    }

    /// Returns a walk along the chain that starts at `head`.
    #[inline]
    pub(crate) fn walk(&self, head: Word<'m>) -> Walk<'m> {
        Walk {
            from: head,
            // relaxed: the load of the row's state provides the ordering.
            link: Link(head.load(Relaxed)),
            cycle: CycleDetector::default(),
        }
    }

    /// Walks to the row of `id` or to the end of its chain, and unlinks marked rows on the way.
    pub(crate) fn locate(&self, id: u64) -> Result<Position<'m>, WalkError> {
        let mut steps = PASSES * self.layout.geometry.segments + RESTARTS;
        for _ in 0..RESTARTS {
            if let Some(place) = self.try_to_locate(id, &mut steps)? {
                return Ok(place);
            }
            spin_loop();
        }
        Err(WalkError::Contended)
    }

    fn try_to_locate(&self, id: u64, steps: &mut usize) -> Result<Option<Position<'m>>, Corrupt> {
        let bucket = self.bucket_of(id);
        let mut word = self.bucket_word(bucket);
        let mut previous: Option<Node> = None; // The row whose `next` is `word`.
        let mut cycle = CycleDetector::default();
        // Each step goes forward, or loads `word` again if another partition changed it first.
        while *steps != 0 {
            *steps -= 1;
            // relaxed: the load of the row's state, and the fence in `is_stale_link`, provide the
            // ordering.
            let link = Link(word.load(Relaxed));
            let is_unchanged = |row: Node| self.generation_matches(row.row, row.state);
            if link.is_marked() || !previous.map_or(true, is_unchanged) {
                return Ok(None); // The previous row is no longer in the table.
            }
            if link.is_end() {
                return Ok(Some(Position::End(word, link)));
            }
            cycle.check(link)?;
            let Some(node) = self.node(link)? else {
                let end = self.is_stale_link(word, link);
                return Ok(end.then_some(Position::End(word, link)));
            };
            if node.next.is_marked() {
                unlink(word, link, node.next, previous);
            } else if node.id == id {
                return Ok(Some(Position::Found(node)));
            } else if self.bucket_of(node.id) != bucket {
                return Ok(None); // An earlier use of the row may have led into another chain.
            } else {
                word = self.next(node.row);
                previous = Some(node);
            }
        }
        Ok(None)
    }
}

/// Takes the marked row that `link` names out of its chain. Does nothing if `word` no longer
/// contains `link`.
fn unlink(word: Word<'_>, link: Link, next: Link, previous: Option<Node>) {
    let following = if next.is_end() {
        Link::end(previous.map_or(0, |previous| previous.state >> 1)) // C3
    } else {
        next.unmarked()
    };
    // Release: passes on the row after it, which we have seen completely.
    // relaxed: on failure nothing is read; the caller loads `word` again.
    // loom: none (in every model the next partition to change the chain has synchronised already)
    let _ = word.compare_exchange(link.0, following.0, Release, Relaxed);
}

/// A walk along a chain, by loads alone.
pub(crate) struct Walk<'m> {
    /// The word that contained `link`.
    from: Word<'m>,
    link: Link,
    cycle: CycleDetector,
}

/// The result of one step of a walk.
pub(crate) enum Step {
    Node(Node),
    End,
    /// The row is in another use now: the walk has left its chain.
    Changed,
}

impl<'m> Walk<'m> {
    #[inline]
    pub(crate) fn step(&mut self, registry: &Registry<'m>) -> Result<Step, Corrupt> {
        if self.link.is_end() {
            return Ok(Step::End);
        }
        self.cycle.check(self.link)?;
        let Some(node) = registry.node(self.link)? else {
            let end = registry.is_stale_link(self.from, self.link);
            return Ok(if end { Step::End } else { Step::Changed });
        };
        self.from = registry.next(node.row);
        self.link = node.next.unmarked();
        Ok(Step::Node(node))
    }
}

/// Detects that a walk reaches one link twice: honest partitions link each use of a row once (C3).
///
/// It saves one link, and replaces it by the current one each time the number of steps has doubled
/// (Brent, *An improved Monte Carlo factorization algorithm*, 1980). A cycle costs at most three
/// times its length.
struct CycleDetector {
    saved: Link,
    steps: u32,
}

impl Default for CycleDetector {
    fn default() -> Self {
        Self {
            saved: Link::end(0),
            steps: 0,
        }
    }
}

impl CycleDetector {
    #[inline]
    fn check(&mut self, link: Link) -> Result<(), Corrupt> {
        if link == self.saved {
            return Err(Corrupt {
                word: ControlWord::Link,
                value: link.0,
            });
        }
        self.steps = self.steps.wrapping_add(1);
        if self.steps.is_power_of_two() {
            self.saved = link;
        }
        Ok(())
    }
}
