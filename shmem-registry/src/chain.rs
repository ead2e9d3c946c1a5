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
//! - **C4** A reader holds no row: what it read of one counts if the row's state was the
//!   same before and afterwards, and its generation is the link's.
//! - **C5** A row leaves its chain before its generation moves. So a link to an earlier
//!   use of a row, in a word that is no removed row's, was put there late by a creator
//!   that was evicted: it counts as the end of the chain, and the next row replaces it.
//!
//! | store                        | paired load                | hands over          |
//! |------------------------------|----------------------------|---------------------|
//! | link in `insert`, `unlink`   | link in `try_to_locate`    | a row and its zeroed segment |
//! | `state` in `prepare`         | `state` in `read_node`     | the same, to readers |
//! | fence in `claim_row`, row    | row, fence in `generation_matches`      | that a row is used again |
//! | `state` in `retire`          | `state`, fence, link in `is_stray` | that nothing links to the earlier use |

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

/// How often a walk starts again because the chain changed under it.
pub(crate) const RESTARTS: usize = 64;

/// Rows that a fast walk reads: in a full table two chains in 10,000 are longer.
const FAST_STEPS: usize = 4;

/// Laps of the whole table that one call may walk, with all its restarts.
pub(crate) const LAPS: usize = 4;

/// What one row of a chain says.
#[derive(Clone, Copy)]
pub(crate) struct Node {
    pub(crate) row: usize,
    /// Its state: the use of the row that was read.
    pub(crate) state: u32,
    pub(crate) next: Link,
    pub(crate) id: u64,
}

impl Node {
    /// Whether `link` leads to the use of the row that was read.
    #[inline]
    pub(crate) fn is_linked_by(&self, link: Link) -> bool {
        self.state & NAMED != 0 && link.leads_to(self.state >> 1)
    }
}

/// Where an identifier belongs.
pub(crate) enum Place<'m> {
    /// This row is the identifier's.
    Found(Node),
    /// It has none; this word is the end of its chain.
    End(Word<'m>, Link),
}

impl<'m> Registry<'m> {
    /// The bucket that the lookup of an identifier starts from.
    #[inline]
    pub fn bucket_of(&self, id: u64) -> usize {
        let hash = id.wrapping_mul(0x9e37_79b9_7f4a_7c15); // Spreads numbers that count up.
        (hash >> self.places.hash_shift) as usize
    }

    /// Reads the row that `link` names; `None` if it is used for something else by now.
    #[inline]
    pub(crate) fn node(&self, link: Link) -> Result<Option<Node>, Corrupt> {
        let row = link.row();
        if row >= self.places.geometry.segments {
            return Err(Corrupt {
                word: ControlWord::Link,
                value: link.0,
            });
        }
        let node = self.read_node(row);
        Ok((node.is_linked_by(link) && self.generation_matches(row, node.state)).then_some(node))
    }

    /// Reads what a row says of its chain; it counts if [`Self::generation_matches`] confirms the
    /// state afterwards (C4).
    #[inline(always)]
    pub(crate) fn read_node(&self, row: usize) -> Node {
        // Acquire: pairs with the exchange in `change_state`; what is read after it is of
        // that use of the row, or of a later one, which `generation_matches` finds out.
        // loom: loom_removal::a_reader_never_takes_the_rows_next_segment_for_its_own
        let state = self.state(row).load(Acquire);
        Node {
            row,
            state,
            // Relaxed: the fence in `generation_matches` lets us see what is behind it.
            next: self.link_of(row),
            id: self.id_in(row),
        }
    }

    /// Whether what was read of `row` until now is of the use that has this state (C4).
    #[inline]
    pub(crate) fn generation_matches(&self, row: usize, state: u32) -> bool {
        // Pairs with the fence in `claim_row`: if anything that was read is of a
        // later use, its generation is seen, too. And, where its `next` was read,
        // with the exchanges in `insert` and `unlink`.
        // loom: loom_removal::a_reader_never_takes_the_rows_next_segment_for_its_own
        fence(Acquire);
        self.state(row).load(Relaxed) == state // relaxed: the fence is before it
    }

    /// Whether `link`, which was found to lead to an earlier use of its row, is still in
    /// `word` (C5).
    #[cold]
    fn is_stray(&self, word: Word<'m>, link: Link) -> bool {
        // Pairs with the exchange in `change_state`: the row had left its chain then. And
        // with the one in `insert`: a row that was linked just now is seen whole.
        // loom: loom_removal::two_creators_in_one_chain_both_stay_in_it
        fence(Acquire);
        // Acquire: as the fence, for a generation that is seen to move only now.
        // loom: none (the address of the state follows from the link)
        let state = self.state(link.row()).load(Acquire);
        let is_linked = state & NAMED != 0 && link.leads_to(state >> 1);
        // relaxed: the fence is before it: a row whose generation was seen to move before the
        // fence had left `word`.
        !is_linked && Link(word.load(Relaxed)).unmarked() == link.unmarked()
    }

    /// Walks to the row of `id` in a few steps; `Changed` if that does not decide, for any reason.
    ///
    /// A row that is found is not confirmed yet: the caller reads the rest of it before it
    /// asks [`Self::generation_matches`], once for the whole row (C4).
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
            if row >= self.places.geometry.segments {
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
        self.find_within(id, &mut (LAPS * self.places.geometry.segments + RESTARTS))
    }

    /// The same, in as many steps as are left.
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
                    // A row's earlier use may have led into another chain.
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

    /// A walk along the chain that `head` starts.
    #[inline]
    pub(crate) fn walk(&self, head: Word<'m>) -> Walk<'m> {
        Walk {
            from: head,
            // relaxed: the state of the row that it leads to has the ordering.
            link: Link(head.load(Relaxed)),
            circle: Circle::default(),
        }
    }

    /// Walks to the row of `id` or to the end of its chain, and takes marked rows
    /// out on the way.
    pub(crate) fn locate(&self, id: u64) -> Result<Place<'m>, WalkError> {
        let mut steps = LAPS * self.places.geometry.segments + RESTARTS;
        for _ in 0..RESTARTS {
            if let Some(place) = self.try_to_locate(id, &mut steps)? {
                return Ok(place);
            }
            spin_loop();
        }
        Err(WalkError::Contended)
    }

    fn try_to_locate(&self, id: u64, steps: &mut usize) -> Result<Option<Place<'m>>, Corrupt> {
        let bucket = self.bucket_of(id);
        let mut word = self.bucket_word(bucket);
        let mut front: Option<Node> = None; // The row whose `next` is `word`.
        let mut circle = Circle::default();
        // Forward, or once more where somebody else was faster.
        while *steps != 0 {
            *steps -= 1;
            // relaxed: the state of the row that it leads to has the ordering, and the fence in
            // `is_stray`.
            let link = Link(word.load(Relaxed));
            let is_there = |front: Node| self.generation_matches(front.row, front.state);
            if link.is_marked() || !front.map_or(true, is_there) {
                return Ok(None); // The row in front is not in the table any more.
            }
            if link.is_end() {
                return Ok(Some(Place::End(word, link)));
            }
            circle.check(link)?;
            let Some(node) = self.node(link)? else {
                let end = self.is_stray(word, link);
                return Ok(end.then_some(Place::End(word, link)));
            };
            if node.next.is_marked() {
                unlink(word, link, node.next, front);
            } else if node.id == id {
                return Ok(Some(Place::Found(node)));
            } else if self.bucket_of(node.id) != bucket {
                return Ok(None); // A row's earlier use may have led into another chain.
            } else {
                word = self.next(node.row);
                front = Some(node);
            }
        }
        Ok(None)
    }
}

/// Takes the marked row that `link` names out of its chain, unless `word` is
/// not `link` any more.
fn unlink(word: Word<'_>, link: Link, next: Link, front: Option<Node>) {
    let behind = if next.is_end() {
        Link::end(front.map_or(0, |front| front.state >> 1)) // C3
    } else {
        next.unmarked()
    };
    // Release: passes on the row behind, which we have seen whole.
    // relaxed: on failure nothing is read; the caller loads `word` again.
    // loom: none (whoever changes the chain next has synchronised with the maker of that row in every model)
    let _ = word.compare_exchange(link.0, behind.0, Release, Relaxed);
}

/// A walk along a chain, by loads alone.
pub(crate) struct Walk<'m> {
    /// Where `link` was read.
    from: Word<'m>,
    link: Link,
    circle: Circle,
}

/// What a step of a walk came to.
pub(crate) enum Step {
    Node(Node),
    End,
    /// The row is used for something else by now: the walk is off its chain.
    Changed,
}

impl<'m> Walk<'m> {
    #[inline]
    pub(crate) fn step(&mut self, registry: &Registry<'m>) -> Result<Step, Corrupt> {
        if self.link.is_end() {
            return Ok(Step::End);
        }
        self.circle.check(self.link)?;
        let Some(node) = registry.node(self.link)? else {
            let end = registry.is_stray(self.from, self.link);
            return Ok(if end { Step::End } else { Step::Changed });
        };
        self.from = registry.next(node.row);
        self.link = node.next.unmarked();
        Ok(Step::Node(node))
    }
}

/// Notices that a walk comes to one link twice: honest partitions link each use of a row
/// once (C3).
///
/// It keeps one link, and changes it for the present one whenever the steps have doubled
/// (Brent, *An improved Monte Carlo factorization algorithm*, 1980): a circle costs three
/// times its length at the most.
struct Circle {
    kept: Link,
    steps: u32,
}

impl Default for Circle {
    fn default() -> Self {
        Self {
            kept: Link::end(0),
            steps: 0,
        }
    }
}

impl Circle {
    #[inline]
    fn check(&mut self, link: Link) -> Result<(), Corrupt> {
        if link == self.kept {
            return Err(Corrupt {
                word: ControlWord::Link,
                value: link.0,
            });
        }
        self.steps = self.steps.wrapping_add(1);
        if self.steps.is_power_of_two() {
            self.kept = link;
        }
        Ok(())
    }
}
