//! The data that a lock protects here: two numbers that are equal except during a change, and
//! count the changes.

use std::cell;

use shmem_core::mem::{ReadWindow, Window};
use shmem_sync::Guard;

use super::calls::{Locked, Numbers};
use crate::kit::{Cell, Count, Incarnation, Observer, Outcome, PARTITIONS, TestMemory, ensure};

/// Words of the account.
pub(super) const ACCOUNT: usize = 8 + 4 * PARTITIONS;

/// The two numbers, as one incarnation uses them.
pub(super) struct CounterPair<'m> {
    pub(super) memory: TestMemory<'m>,
    incarnation: Incarnation,
    /// Whether others held the lock while we did: then we were evicted.
    overtaken: cell::Cell<bool>,
}

impl<'m> CounterPair<'m> {
    pub(super) fn new(memory: TestMemory<'m>, incarnation: Incarnation) -> Self {
        let pair = Self {
            memory,
            incarnation,
            overtaken: cell::Cell::new(false),
        };
        pair.reading(pair.own()).set(0);
        pair
    }

    /// The incarnation that changes the numbers.
    fn inside(&self) -> Cell<'m> {
        self.memory.ledger.account(0)
    }

    /// Changes of a partition, in all its incarnations, after which it has unlocked.
    fn changes(&self, partition: usize) -> Count<'m> {
        self.memory.ledger.count(8 + partition % PARTITIONS * 4)
    }

    /// The incarnation of a partition that reads the numbers.
    fn reading(&self, partition: usize) -> Cell<'m> {
        let at = 8 + partition % PARTITIONS * 4 + 2;
        self.memory.ledger.account(at)
    }

    fn own(&self) -> usize {
        self.incarnation.partition().into()
    }

    /// Changes the numbers under an acquired lock. Repairs them first if the last owner died, or
    /// was evicted and knows it.
    pub(super) fn change<'l, 'w>(
        &self,
        locked: Locked<Guard<'l, 'w, Numbers>>,
    ) -> Outcome<Guard<'l, 'w, Numbers>> {
        let (mut guard, died) = (locked.guard, locked.owner_died);
        let before = Incarnation::from_word(self.inside().swap(self.incarnation.word()));
        let half_done = self.memory.ledger.half_done().swap(0) != 0;
        let warned = died || half_done;
        self.ensure_a_party_died(died)?;
        let (mut first, second) = numbers(guard.window().into());
        ensure(warned || before.is_none() && first == second, || {
            format!("inside after {before:?}, without a warning, with {first} and {second}")
        })?;
        if half_done {
            // An evicted owner may have stored an old number.
            first = self.sum(|count| count.acknowledged);
        }
        if warned {
            store(guard.window(), 8, first);
        }
        if died {
            guard.make_consistent();
        }
        if !self.is_evicted() {
            self.ensure_counted(first)?;
        }
        self.changes(self.own()).attempted.add(1);
        store(guard.window(), 0, first + 1);
        store(guard.window(), 8, first + 1);
        let inside = Incarnation::from_word(self.inside().swap(0));
        self.overtaken.set(inside != Some(self.incarnation));
        ensure(!self.overtaken.get() || self.is_evicted(), || {
            format!("{inside:?} came inside while we held the lock")
        })?;
        Ok(guard)
    }

    /// Whether others presumed us gone: they may have been inside since we checked.
    fn is_evicted(&self) -> bool {
        self.memory.is_evicted(self.incarnation)
    }

    /// Notes that a change is made and the lock released.
    pub(super) fn acknowledge(&self) -> Outcome {
        self.changes(self.own()).acknowledged.add(1);
        ensure(!self.overtaken.get(), || {
            "others were inside while we held the lock, and we could release it".to_owned()
        })
    }

    /// Reads the numbers while other readers may read them.
    pub(super) fn read(&self, data: ReadWindow<'_>, died: bool) -> Outcome {
        self.reading(self.own()).set(self.incarnation.word());
        self.ensure_a_party_died(died)?;
        for _ in 0..2 {
            let inside = Incarnation::from_word(self.inside().get());
            let (first, second) = numbers(data);
            let warned = died || self.memory.ledger.half_done().get() != 0;
            ensure(warned || inside.is_none() && first == second, || {
                format!("reading while {inside:?} writes, without a warning, {first} and {second}")
            })?;
        }
        self.reading(self.own()).set(0);
        Ok(())
    }

    /// Checks that no living party reads.
    pub(super) fn ensure_unread(&self, observer: &mut Observer<'_>) -> Outcome {
        for partition in 0..PARTITIONS {
            if let Some(reader) = Incarnation::from_word(self.reading(partition).get()) {
                ensure(observer.is_truly_gone(reader), || {
                    format!("holds the lock alone while {reader} reads")
                })?;
            }
        }
        Ok(())
    }

    /// Checks that no death is reported where no party was killed.
    fn ensure_a_party_died(&self, died: bool) -> Outcome {
        ensure(!died || self.memory.ledger.deaths().get() != 0, || {
            "a death was reported that did not happen".to_owned()
        })
    }

    fn sum(&self, part: fn(Count<'m>) -> Cell<'m>) -> u64 {
        let parts = (0..PARTITIONS).map(|at| part(self.changes(at)).get());
        parts.map(u64::from).sum()
    }

    /// Checks that every acknowledged change is counted, and none that was not attempted.
    fn ensure_counted(&self, number: u64) -> Outcome {
        // In this order: the first may grow between the two, the second may not.
        let least = self.sum(|count| count.acknowledged);
        let most = self.sum(|count| count.attempted);
        ensure((least..=most).contains(&number), || {
            format!("{number} changes are counted, not {least} to {most}")
        })
    }
}

fn numbers(data: ReadWindow<'_>) -> (u64, u64) {
    let mut bytes = [[0; 8]; 2];
    data.read(0, &mut bytes[0]);
    data.read(8, &mut bytes[1]);
    (u64::from_le_bytes(bytes[0]), u64::from_le_bytes(bytes[1]))
}

fn store(data: Window<'_>, offset: usize, number: u64) {
    data.write(offset, &number.to_le_bytes());
}
