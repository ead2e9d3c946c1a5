//! The ring's account: what its producers pushed and its consumers released.
//!
//! - **K1** A producer's life sets `attempted` before a record can be there and
//!   `acknowledged` when the push has returned; what it attempts at one time becomes
//!   visible together.
//! - **K2** A consumer's life sets `seen` before it releases what it saw, and
//!   `released` behind that; a record that it takes unseen is `unknown` meanwhile.
//!
//! So a life that died published what it acknowledged or what it attempted, and
//! released what it says or what it had seen, with up to `unknown` more.

use super::super::record::Tag;
use crate::stage::{Cell, Ledger};

/// Words in front of the lives of producers.
const CONSUMERS: usize = 32;
/// Words for the life of a producer.
const ENTRY: usize = 8;

/// Words of an account that knows so many lives of producers at a time.
pub(super) const fn account_len(lives: usize) -> usize {
    CONSUMERS + lives * ENTRY
}

/// Where a consumer is: behind so many records of a producer's life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) life: u32,
    pub(super) count: u32,
}

impl Position {
    /// Behind this record.
    pub(super) fn behind(tag: Tag) -> Self {
        Self {
            life: tag.life,
            count: tag.number + 1,
        }
    }
}

/// What is known of a producer's life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Produced {
    /// Records whose push has returned.
    pub(super) acknowledged: u32,
    /// Records that may be there.
    pub(super) attempted: u32,
}

/// A pair of words that is never half-written for one who reads it after its
/// writer died.
#[derive(Clone, Copy)]
struct Pair<'m>([Cell<'m>; 5]);

impl Pair<'_> {
    fn get(self) -> Position {
        let [which, cells @ ..] = self.0;
        let at = (which.get() as usize & 1) * 2;
        Position {
            life: cells[at].get(),
            count: cells[at + 1].get(),
        }
    }

    fn set(self, position: Position) {
        let [which, cells @ ..] = self.0;
        let next = 1 - (which.get() & 1);
        let at = next as usize * 2;
        cells[at].set(position.life);
        cells[at + 1].set(position.count);
        which.set(next);
    }
}

#[derive(Clone, Copy)]
pub(super) struct Book<'m>(pub(super) Ledger<'m>);

impl<'m> Book<'m> {
    /// The number of the producer's life that begins now, or has begun last.
    pub(super) fn producers(self) -> Cell<'m> {
        self.0.account(0)
    }

    /// The last producer's life whose claim has returned.
    pub(super) fn producing(self) -> Cell<'m> {
        self.0.account(1)
    }

    /// The number of the consumer's life that begins now, or has begun last.
    pub(super) fn consumers(self) -> Cell<'m> {
        self.0.account(2)
    }

    /// The last consumer's life whose claim has returned.
    pub(super) fn consuming(self) -> Cell<'m> {
        self.0.account(3)
    }

    /// Records that may have been released unseen.
    pub(super) fn unknown(self) -> Cell<'m> {
        self.0.account(4)
    }

    /// Records that were handed out and released.
    pub(super) fn popped(self) -> Cell<'m> {
        self.0.account(5)
    }

    /// Records that lives of consumers which are over may have released unseen.
    pub(super) fn doubted(self) -> Cell<'m> {
        self.0.account(6)
    }

    fn pair(self, at: usize) -> Pair<'m> {
        Pair([0, 1, 2, 3, 4].map(|word| self.0.account(at + word)))
    }

    pub(super) fn seen(self) -> Position {
        self.pair(8).get()
    }

    pub(super) fn set_seen(self, position: Position) {
        self.pair(8).set(position);
    }

    pub(super) fn released(self) -> Position {
        self.pair(16).get()
    }

    pub(super) fn set_released(self, position: Position) {
        self.pair(16).set(position);
    }

    fn entry(self, life: u32, word: usize) -> Cell<'m> {
        let lives = (self.0.account_len() - CONSUMERS) / ENTRY;
        let at = life as usize % lives;
        self.0.account(CONSUMERS + at * ENTRY + word)
    }

    /// Begins a producer's life and returns its number.
    pub(super) fn begin_producer(self) -> u32 {
        let life = self.producers().get() + 1;
        for word in 0..ENTRY {
            self.entry(life, word).set(0);
        }
        self.entry(life, 0).set(life);
        self.producers().set(life);
        life
    }

    /// Begins a consumer's life and returns its number.
    pub(super) fn begin_consumer(self) -> u32 {
        self.consumers().add(1) + 1
    }

    pub(super) fn attempted(self, life: u32) -> Cell<'m> {
        self.entry(life, 1)
    }

    pub(super) fn acknowledged(self, life: u32) -> Cell<'m> {
        self.entry(life, 2)
    }

    /// Records that were handed out, and those before them.
    pub(super) fn taken(self, life: u32) -> Cell<'m> {
        self.entry(life, 5)
    }

    /// Says from which of its records on a producer pushes for this consumer's life.
    pub(super) fn set_since(self, life: u32, reader: u32, number: u32) {
        self.entry(life, 4).set(number);
        self.entry(life, 3).set(reader);
    }

    /// From which record on a producer pushes for this consumer's life, if it does.
    pub(super) fn since(self, life: u32, reader: u32) -> Option<u32> {
        (self.entry(life, 3).get() == reader).then(|| self.entry(life, 4).get())
    }

    /// What is known of a producer's life; nothing of one too long ago.
    pub(super) fn produced(self, life: u32) -> Option<Produced> {
        if life == 0 {
            return Some(Produced::default());
        }
        (self.entry(life, 0).get() == life).then(|| Produced {
            // In this order: the first is at most the second.
            acknowledged: self.acknowledged(life).get(),
            attempted: self.attempted(life).get(),
        })
    }

    /// How many records a consumer at `position` has still to get of that producer's
    /// life, which is over: the fewest there may be.
    fn left(self, position: Position) -> Option<u32> {
        let produced = self.produced(position.life)?;
        let Produced {
            acknowledged,
            attempted,
        } = produced;
        let known = acknowledged.checked_sub(position.count);
        known.or_else(|| attempted.checked_sub(position.count))
    }

    /// How many acknowledged records at least a consumer at `position` has still to
    /// get of that producer's life and those up to `last`, all over; `None` if it
    /// cannot be there.
    pub(super) fn unread(self, position: Position, last: u32) -> Option<u32> {
        let later = position.life + 1..=last;
        later.fold(self.left(position), |sum, life| {
            let left = self.left(Position { life, count: 0 })?;
            Some(sum? + left)
        })
    }

    /// How many acknowledged records of lives up to `last` were never handed out.
    pub(super) fn lost(self, last: u32) -> u32 {
        let lives = (1..=last).filter(|&life| self.produced(life).is_some());
        lives
            .map(|life| {
                let acknowledged = self.acknowledged(life).get();
                acknowledged.saturating_sub(self.taken(life).get())
            })
            .sum()
    }

    /// Whether this record may be the next for a consumer at `position` that may have
    /// released `unknown` more unseen.
    pub(super) fn follows(self, position: Position, tag: Tag, unknown: u32) -> bool {
        let skipped = if tag.life == position.life {
            tag.number.checked_sub(position.count)
        } else if tag.life > position.life {
            let before = self.unread(position, tag.life - 1);
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
    use crate::stage::Ledger;

    fn tag(life: u32, number: u32) -> Tag {
        Tag {
            life,
            number,
            reader: 0,
        }
    }

    fn at(life: u32, count: u32) -> Position {
        Position { life, count }
    }

    /// Life 1 pushed 2 and died pushing 3 more; life 2 pushed nothing; life 3 lives.
    fn with_book(check: impl FnOnce(Book<'_>)) {
        let heap = Heap::new(4096);
        let book = Book(Ledger::over(heap.window()));
        book.begin_producer();
        book.attempted(1).set(5);
        book.acknowledged(1).set(2);
        book.begin_producer();
        book.begin_producer();
        check(book);
    }

    #[test]
    fn what_was_acknowledged_must_come_and_what_was_attempted_may() {
        with_book(|book| {
            assert!(book.follows(at(0, 0), tag(1, 0), 0));
            assert!(book.follows(at(1, 1), tag(1, 1), 0));
            assert!(!book.follows(at(1, 1), tag(1, 0), 0), "again");
            assert!(!book.follows(at(1, 0), tag(1, 1), 0), "one is lost");
            assert!(book.follows(at(1, 2), tag(3, 0), 0));
            assert!(book.follows(at(1, 5), tag(3, 0), 0));
            assert!(!book.follows(at(1, 1), tag(3, 0), 0), "one is lost");
            assert!(!book.follows(at(1, 4), tag(3, 0), 0), "half a batch");
            assert!(!book.follows(at(1, 6), tag(3, 0), 0), "one too many");
        });
    }

    #[test]
    fn a_record_taken_unseen_may_be_missing() {
        with_book(|book| {
            assert!(book.follows(at(1, 0), tag(1, 1), 1));
            assert!(!book.follows(at(1, 0), tag(1, 2), 1));
            assert!(book.follows(at(1, 1), tag(3, 0), 1));
            assert!(book.follows(at(1, 2), tag(3, 1), 1));
            assert!(!book.follows(at(1, 1), tag(3, 1), 1));
        });
    }

    #[test]
    fn a_position_is_the_old_one_or_the_new_one() {
        with_book(|book| {
            book.set_seen(at(1, 1));
            book.set_seen(at(3, 7));
            assert_eq!((book.seen(), book.released()), (at(3, 7), at(0, 0)));
        });
    }
}
