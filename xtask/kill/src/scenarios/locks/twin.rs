//! What a lock protects here: two numbers that are the same whenever nobody
//! changes them, and count the changes.

use shmem_core::Life;
use shmem_core::mem::{ReadWindow, Window};
use shmem_sync::{Guard, LockError, LockFailure, LockResult, ReadGuard};

use crate::deaths::Deaths;
use crate::scenario::{Outcome, ensure, is_in_vain, unexpected};
use crate::stage::{Cell, PARTITIONS, Stage};

/// The two numbers, each in a word of its own.
pub(super) type Numbers = [u64; 2];

/// Words of the account.
pub(super) const ACCOUNT: usize = 8 + 4 * PARTITIONS;

/// What one life knows of the two numbers.
pub(super) struct Twin<'m> {
    stage: Stage<'m>,
    life: Life,
    /// Whether others were inside while we were: then we are late.
    robbed: std::cell::Cell<bool>,
}

impl<'m> Twin<'m> {
    pub(super) fn new(stage: Stage<'m>, life: Life) -> Self {
        let twin = Self {
            stage,
            life,
            robbed: std::cell::Cell::new(false),
        };
        twin.reading(life.partition()).set(0);
        twin
    }

    /// The life that changes the numbers.
    fn inside(&self) -> Cell<'m> {
        self.stage.ledger.account(0)
    }

    fn cell(&self, partition: usize, word: usize) -> Cell<'m> {
        let at = 8 + partition % PARTITIONS * 4 + word;
        self.stage.ledger.account(at)
    }

    /// Changes that a partition may have made, over all its lives.
    fn attempted(&self, partition: usize) -> Cell<'m> {
        self.cell(partition, 0)
    }

    /// Changes that a partition made and had unlocked behind.
    fn acknowledged(&self, partition: usize) -> Cell<'m> {
        self.cell(partition, 1)
    }

    /// The life of a partition that reads the numbers.
    fn reading(&self, partition: u8) -> Cell<'m> {
        self.cell(partition.into(), 2)
    }

    fn own(&self) -> usize {
        self.life.partition().into()
    }

    /// Changes the numbers under a lock that is had, and repairs them if its last
    /// owner died, or came late and was told so; none if it is busy.
    pub(super) fn change<'l, 'w>(
        &self,
        lock: LockResult<Guard<'l, 'w, Numbers>>,
    ) -> Outcome<Option<Guard<'l, 'w, Numbers>>> {
        let Some((mut guard, died)) = admitted(&self.stage, lock)? else {
            return Ok(None);
        };
        let before = Life::from_word(self.inside().swap(self.life.word()));
        let spoilt = self.stage.spoilt().swap(0) != 0;
        let warned = died || spoilt;
        self.is_warned(died)?;
        let (mut first, second) = numbers(guard.window().into());
        ensure(warned || before.is_none() && first == second, || {
            format!("inside after {before:?}, unwarned, with {first} and {second}")
        })?;
        if spoilt {
            // What was stored late may be an old number.
            first = self.least();
        }
        if warned {
            store(guard.window(), 8, first);
        }
        if died {
            guard.make_consistent();
        }
        if !self.is_late() {
            self.counts(first)?;
        }
        self.attempted(self.own()).add(1);
        store(guard.window(), 0, first + 1);
        store(guard.window(), 8, first + 1);
        let inside = Life::from_word(self.inside().swap(0));
        self.robbed.set(inside != Some(self.life));
        ensure(!self.robbed.get() || self.is_late(), || {
            format!("{inside:?} came inside while we were")
        })?;
        Ok(Some(guard))
    }

    /// Whether we were taken for gone: others may have been inside since we looked.
    fn is_late(&self) -> bool {
        self.stage.late().get() == self.life.word()
    }

    /// Says that a change is made and the lock given back.
    pub(super) fn acknowledge(&self) -> Outcome {
        self.acknowledged(self.own()).add(1);
        ensure(!self.robbed.get(), || {
            "others were inside while we were, and we could give the lock back".to_owned()
        })
    }

    /// Looks at the numbers among other readers; none if the lock is busy.
    pub(super) fn read<'l, 'w>(
        &self,
        lock: LockResult<ReadGuard<'l, 'w, Numbers>>,
    ) -> Outcome<Option<ReadGuard<'l, 'w, Numbers>>> {
        let Some((guard, died)) = admitted(&self.stage, lock)? else {
            return Ok(None);
        };
        self.reading(self.life.partition()).set(self.life.word());
        self.is_warned(died)?;
        for _ in 0..2 {
            let inside = Life::from_word(self.inside().get());
            let (first, second) = numbers(guard.window());
            let warned = died || self.stage.spoilt().get() != 0;
            ensure(warned || inside.is_none() && first == second, || {
                format!("reading beside {inside:?}, unwarned, {first} and {second}")
            })?;
        }
        self.reading(self.life.partition()).set(0);
        Ok(Some(guard))
    }

    /// No living life reads.
    pub(super) fn is_unread(&self, deaths: &mut Deaths<'_>) -> Outcome {
        for partition in 0..PARTITIONS {
            let Some(reader) = Life::from_word(self.cell(partition, 2).get()) else {
                continue;
            };
            ensure(deaths.is_truly_over(reader), || {
                format!("inside alone while {reader} reads")
            })?;
        }
        Ok(())
    }

    /// Nobody is said to have died where nobody was killed.
    fn is_warned(&self, died: bool) -> Outcome {
        ensure(!died || self.stage.killed().get() != 0, || {
            "warned of a death that never was".to_owned()
        })
    }

    fn sum(&self, cell: fn(&Self, usize) -> Cell<'m>) -> u64 {
        let parts = (0..PARTITIONS).map(|at| cell(self, at).get());
        parts.map(u64::from).sum()
    }

    fn least(&self) -> u64 {
        self.sum(Self::acknowledged)
    }

    /// Every acknowledged change is there, and none that nobody attempted.
    fn counts(&self, number: u64) -> Outcome {
        // In this order: the first grow while we look, the second do not.
        let least = self.least();
        let most = self.sum(Self::attempted);
        ensure((least..=most).contains(&number), || {
            format!("{number} changes are there, not {least} to {most}")
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

/// The guard, and whether the last owner died inside; none if the lock is busy.
fn admitted<G>(stage: &Stage<'_>, lock: LockResult<G>) -> Outcome<Option<(G, bool)>> {
    match lock {
        Ok(guard) => Ok(Some((guard, false))),
        Err(LockError::OwnerDied(guard)) => Ok(Some((guard, true))),
        Err(LockError::Failed(LockFailure::Busy)) => Ok(None),
        Err(LockError::Failed(failure)) if is_in_vain(&failure) && stage.held().get() != 0 => {
            Ok(None)
        }
        Err(LockError::Failed(failure)) => Err(unexpected("locking")(failure)),
    }
}
