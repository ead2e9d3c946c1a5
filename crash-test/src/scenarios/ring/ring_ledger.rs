//! The ring's ledger: records that its producers pushed and its consumers released.
//!
//! - **K1** A producer sets `attempted` before a record can become visible, and `acknowledged`
//!   when the push has returned. Records that it attempts together become visible together.
//! - **K2** A consumer sets `seen` before it releases what it saw, and `released` after that.
//!   While it takes a record unseen, that record counts in `unknown`.
//!
//! So a dead producer published what it acknowledged or what it attempted. A dead consumer
//! released up to `released` or up to `seen`, and up to `unknown` more.

use crate::kit::{Cell, Ledger};
use crate::scenarios::tag::Tag;

/// Words before the incarnations of producers.
const CONSUMERS: usize = 32;
/// Words for one incarnation of a producer.
const ENTRY: usize = 8;

/// Words of an account that holds `incarnations` incarnations of producers at a time.
pub(in crate::scenarios) const fn account_len(incarnations: usize) -> usize {
    CONSUMERS + incarnations * ENTRY
}

/// The position of a consumer: after `count` records of a producer's incarnation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::scenarios) struct Position {
    pub(in crate::scenarios) incarnation: u32,
    pub(in crate::scenarios) count: u32,
}

impl Position {
    /// The position after this record.
    pub(in crate::scenarios) fn after(tag: Tag) -> Self {
        Self {
            incarnation: tag.incarnation,
            count: tag.number + 1,
        }
    }
}

/// The records of a producer's incarnation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::scenarios) struct Produced {
    /// Records whose push has returned.
    pub(in crate::scenarios) acknowledged: u32,
    /// Records that may exist.
    pub(in crate::scenarios) attempted: u32,
}

/// A pair of words that is consistent even if its writer died between two stores.
#[derive(Clone, Copy)]
struct Pair<'m>([Cell<'m>; 5]);

impl Pair<'_> {
    fn get(self) -> Position {
        let [which, cells @ ..] = self.0;
        let at = (which.get() as usize & 1) * 2;
        Position {
            incarnation: cells[at].get(),
            count: cells[at + 1].get(),
        }
    }

    fn set(self, position: Position) {
        let [which, cells @ ..] = self.0;
        let next = 1 - (which.get() & 1);
        let at = next as usize * 2;
        cells[at].set(position.incarnation);
        cells[at + 1].set(position.count);
        which.set(next);
    }
}

#[derive(Clone, Copy)]
pub(in crate::scenarios) struct RingLedger<'m> {
    ledger: Ledger<'m>,
    /// The number of the producer's incarnation that begins now, or began last.
    pub(in crate::scenarios) producers: Cell<'m>,
    /// The last producer's incarnation whose claim has returned.
    pub(in crate::scenarios) producing: Cell<'m>,
    /// The number of the consumer's incarnation that begins now, or began last.
    pub(in crate::scenarios) consumers: Cell<'m>,
    /// The last consumer's incarnation whose claim has returned.
    pub(in crate::scenarios) consuming: Cell<'m>,
    /// Records that may have been released unseen.
    pub(in crate::scenarios) unknown: Cell<'m>,
    /// Records that were handed out and released.
    pub(in crate::scenarios) popped: Cell<'m>,
    /// Records that dead consumers may have released unseen.
    pub(in crate::scenarios) doubted: Cell<'m>,
}

impl<'m> RingLedger<'m> {
    pub(in crate::scenarios) fn new(ledger: Ledger<'m>) -> Self {
        Self {
            ledger,
            producers: ledger.account(0),
            producing: ledger.account(1),
            consumers: ledger.account(2),
            consuming: ledger.account(3),
            unknown: ledger.account(4),
            popped: ledger.account(5),
            doubted: ledger.account(6),
        }
    }

    fn pair(self, at: usize) -> Pair<'m> {
        Pair([0, 1, 2, 3, 4].map(|word| self.ledger.account(at + word)))
    }

    pub(in crate::scenarios) fn seen(self) -> Position {
        self.pair(8).get()
    }

    pub(in crate::scenarios) fn set_seen(self, position: Position) {
        self.pair(8).set(position);
    }

    pub(in crate::scenarios) fn released(self) -> Position {
        self.pair(16).get()
    }

    pub(in crate::scenarios) fn set_released(self, position: Position) {
        self.pair(16).set(position);
    }

    fn entry(self, incarnation: u32, word: usize) -> Cell<'m> {
        let incarnations = (self.ledger.account_len() - CONSUMERS) / ENTRY;
        let at = incarnation as usize % incarnations;
        self.ledger.account(CONSUMERS + at * ENTRY + word)
    }

    /// Begins a producer's incarnation and returns its number.
    pub(in crate::scenarios) fn begin_producer(self) -> u32 {
        let incarnation = self.producers.get() + 1;
        for word in 0..ENTRY {
            self.entry(incarnation, word).set(0);
        }
        self.entry(incarnation, 0).set(incarnation);
        self.producers.set(incarnation);
        incarnation
    }

    /// Begins a consumer's incarnation and returns its number.
    pub(in crate::scenarios) fn begin_consumer(self) -> u32 {
        self.consumers.add(1) + 1
    }

    pub(in crate::scenarios) fn attempted(self, incarnation: u32) -> Cell<'m> {
        self.entry(incarnation, 1)
    }

    pub(in crate::scenarios) fn acknowledged(self, incarnation: u32) -> Cell<'m> {
        self.entry(incarnation, 2)
    }

    /// Records that were handed out, plus those before them.
    pub(in crate::scenarios) fn taken(self, incarnation: u32) -> Cell<'m> {
        self.entry(incarnation, 5)
    }

    /// Notes the record from which a producer pushes for this consumer's incarnation.
    pub(in crate::scenarios) fn set_since(self, incarnation: u32, reader: u32, number: u32) {
        self.entry(incarnation, 4).set(number);
        self.entry(incarnation, 3).set(reader);
    }

    /// The record from which a producer pushes for this consumer's incarnation, if it does.
    pub(in crate::scenarios) fn since(self, incarnation: u32, reader: u32) -> Option<u32> {
        (self.entry(incarnation, 3).get() == reader).then(|| self.entry(incarnation, 4).get())
    }

    /// The records of a producer's incarnation; `None` if it is too old for the account.
    pub(in crate::scenarios) fn produced(self, incarnation: u32) -> Option<Produced> {
        if incarnation == 0 {
            return Some(Produced::default());
        }
        (self.entry(incarnation, 0).get() == incarnation).then(|| Produced {
            // In this order: the first is at most the second.
            acknowledged: self.acknowledged(incarnation).get(),
            attempted: self.attempted(incarnation).get(),
        })
    }

    /// The least number of records that a consumer at `position` still has to get of that
    /// producer's incarnation, which is dead.
    fn left(self, position: Position) -> Option<u32> {
        let produced = self.produced(position.incarnation)?;
        let Produced {
            acknowledged,
            attempted,
        } = produced;
        let known = acknowledged.checked_sub(position.count);
        known.or_else(|| attempted.checked_sub(position.count))
    }

    /// The least number of acknowledged records that a consumer at `position` still has to get of
    /// the producer's incarnations from that one to `last`, all dead. `None` if the position is
    /// impossible.
    pub(in crate::scenarios) fn unread(self, position: Position, last: u32) -> Option<u32> {
        let later = position.incarnation + 1..=last;
        later.fold(self.left(position), |sum, incarnation| {
            let left = self.left(Position {
                incarnation,
                count: 0,
            })?;
            Some(sum? + left)
        })
    }

    /// The number of acknowledged records, in incarnations up to `last`, that were not handed out.
    pub(in crate::scenarios) fn lost(self, last: u32) -> u32 {
        let incarnations = (1..=last).filter(|&incarnation| self.produced(incarnation).is_some());
        incarnations
            .map(|incarnation| {
                let acknowledged = self.acknowledged(incarnation).get();
                acknowledged.saturating_sub(self.taken(incarnation).get())
            })
            .sum()
    }

    /// Whether this record may be the next for a consumer at `position`, which may have released
    /// `unknown` more records unseen.
    pub(in crate::scenarios) fn follows(self, position: Position, tag: Tag, unknown: u32) -> bool {
        let skipped = if tag.incarnation == position.incarnation {
            tag.number.checked_sub(position.count)
        } else if tag.incarnation > position.incarnation {
            let before = self.unread(position, tag.incarnation - 1);
            before.map(|before| before + tag.number)
        } else {
            None
        };
        skipped.is_some_and(|skipped| skipped <= unknown)
    }
}

#[cfg(test)]
mod tests {
    use shmem_core::mem::Heap;

    use super::*;

    fn tag(incarnation: u32, number: u32) -> Tag {
        Tag {
            incarnation,
            number,
            reader: 0,
        }
    }

    fn at(incarnation: u32, count: u32) -> Position {
        Position { incarnation, count }
    }

    /// The first incarnation pushed 2 records and died while it pushed 3 more; the second and the
    /// third pushed none.
    fn with_ledger(check: impl FnOnce(RingLedger<'_>)) {
        let heap = Heap::new(4096);
        let ledger = RingLedger::new(Ledger::new(heap.window()));
        ledger.begin_producer();
        ledger.attempted(1).set(5);
        ledger.acknowledged(1).set(2);
        ledger.begin_producer();
        ledger.begin_producer();
        check(ledger);
    }

    #[test]
    fn acknowledged_records_must_come_and_attempted_records_may() {
        with_ledger(|ledger| {
            assert!(ledger.follows(at(0, 0), tag(1, 0), 0));
            assert!(ledger.follows(at(1, 1), tag(1, 1), 0));
            assert!(!ledger.follows(at(1, 1), tag(1, 0), 0), "again");
            assert!(!ledger.follows(at(1, 0), tag(1, 1), 0), "one is lost");
            assert!(ledger.follows(at(1, 2), tag(3, 0), 0));
            assert!(ledger.follows(at(1, 5), tag(3, 0), 0));
            assert!(!ledger.follows(at(1, 1), tag(3, 0), 0), "one is lost");
            assert!(!ledger.follows(at(1, 4), tag(3, 0), 0), "half a batch");
            assert!(!ledger.follows(at(1, 6), tag(3, 0), 0), "one too many");
        });
    }

    #[test]
    fn a_record_released_unseen_may_be_missing() {
        with_ledger(|ledger| {
            assert!(ledger.follows(at(1, 0), tag(1, 1), 1));
            assert!(!ledger.follows(at(1, 0), tag(1, 2), 1));
            assert!(ledger.follows(at(1, 1), tag(3, 0), 1));
            assert!(ledger.follows(at(1, 2), tag(3, 1), 1));
            assert!(!ledger.follows(at(1, 1), tag(3, 1), 1));
        });
    }

    #[test]
    fn a_position_is_the_old_one_or_the_new_one() {
        with_ledger(|ledger| {
            ledger.set_seen(at(1, 1));
            ledger.set_seen(at(3, 7));
            assert_eq!((ledger.seen(), ledger.released()), (at(3, 7), at(0, 0)));
        });
    }
}
