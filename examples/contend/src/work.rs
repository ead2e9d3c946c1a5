//! Many short rounds under a lock.

use std::time::Instant;

use anyhow::Result;
use shmem_core::doorbell::NoDoorbell;
use shmem_sync::{
    AcquireError, AssumeAlive, BarrierError, Liveness, LockError, Mutex, ReadGuard, RwLock,
    Semaphore,
};

use crate::area;
use crate::cli::{Amount, Lock};
use crate::handles;
use crate::held::{Held, finish_lock, lock_error, not_held_error};
use crate::ledger::{self, Counters};
use crate::party::Party;
use crate::stop::Stop;

/// One of this many rounds under the reader-writer lock writes.
const WRITES: u32 = 4;

pub(crate) fn run(party: &Party<'_>, lock: Lock, amount: &Amount) -> Result<()> {
    let mut rounds = Rounds::new(amount);
    if amount.start_together {
        barrier_waiter(party)?()?;
        rounds = Rounds::new(amount);
    }
    match lock {
        Lock::Mutex => mutex(party, &mut rounds)?,
        Lock::Semaphore => semaphore(party, &mut rounds)?,
        Lock::Rwlock => rwlock(party, &mut rounds)?,
        Lock::Bakery => bakery(party, &mut rounds)?,
        Lock::Barrier => barrier(party, &mut rounds)?,
    }
    party.done(rounds.begun);
    Ok(())
}

/// Counts rounds from 0 to the limit.
struct Rounds {
    begun: u32,
    limit: u32,
    end: Option<Instant>,
}

impl Rounds {
    fn new(amount: &Amount) -> Self {
        let end = amount.time.map(|time| Instant::now() + time);
        let limit = end.map_or(amount.rounds, |_| u32::MAX);
        Self {
            begun: 0,
            limit,
            end,
        }
    }
}

impl Iterator for &mut Rounds {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let round = self.begun;
        let is_done = round == self.limit || self.end.is_some_and(|end| Instant::now() >= end);
        (!is_done).then(|| {
            self.begun += 1;
            round
        })
    }
}

/// Makes one round under an exclusive lock.
fn count(mut guard: Held<'_, '_>, party: &Party<'_>) -> Result<()> {
    guard.update(|counters| ledger::begin(counters, party.number()));
    guard.update(ledger::finish);
    Ok(guard.unlock().map_err(not_held_error)?)
}

fn mutex(party: &Party<'_>, rounds: &mut Rounds) -> Result<()> {
    let mutex = Mutex::attach(
        party.area.open(area::mutex())?,
        party.incarnation,
        &NoDoorbell,
    )?;
    for _ in rounds {
        let taken = mutex.lock(&mut party.wait(), &mut *party.liveness());
        count(finish_lock(taken, party)?, party)?;
    }
    Ok(())
}

fn bakery(party: &Party<'_>, rounds: &mut Rounds) -> Result<()> {
    let mut mutex = handles::bakery(party)?;
    for _ in rounds {
        let taken = mutex.lock(&mut party.wait(), &mut *party.liveness());
        count(finish_lock(taken, party)?, party)?;
    }
    Ok(())
}

fn rwlock(party: &Party<'_>, rounds: &mut Rounds) -> Result<()> {
    let lock = RwLock::attach(
        party.area.open(area::rwlock())?,
        party.incarnation,
        &NoDoorbell,
    )?;
    for round in rounds {
        if round % WRITES == 0 {
            let taken = lock.write(&mut party.wait(), &mut *party.liveness());
            count(finish_lock(taken, party)?, party)?;
            continue;
        }
        let taken = lock.read(&mut party.wait(), &mut *party.liveness());
        match taken {
            Ok(guard) => read(&guard).and(Ok(guard)),
            // The next writer repairs the counters.
            Err(LockError::OwnerDied(guard)) => Ok(guard),
            Err(LockError::Failed(failure)) => return Err(lock_error(failure)),
        }?
        .unlock()
        .map_err(not_held_error)?;
    }
    Ok(())
}

/// Reads the counters twice: no party may change them meanwhile.
fn read(guard: &ReadGuard<'_, '_, Counters>) -> Result<(), Stop> {
    let counters = guard.get();
    let before = ledger::total(&counters);
    ledger::check(&counters)?;
    match ledger::total(&guard.get()) {
        after if after == before => Ok(()),
        after => Err(Stop::Wrong(format!(
            "{before}, then {after}, while it was read"
        ))),
    }
}

fn semaphore(party: &Party<'_>, rounds: &mut Rounds) -> Result<()> {
    let segment = party.area.open(area::semaphore())?;
    let semaphore = Semaphore::attach(segment, party.incarnation, &NoDoorbell)?;
    let permits = semaphore.permits();
    for _ in rounds {
        let taken = semaphore.acquire(&mut party.wait(), &mut *party.liveness());
        let permit = taken.map_err(permit_error)?;
        party.notes.enter(party.incarnation, true);
        let inside = party
            .notes
            .inside(|incarnation| party.liveness().is_gone(incarnation));
        party.notes.enter(party.incarnation, false);
        permit.release().map_err(not_held_error)?;
        if let Some(inside) = inside.filter(|&inside| inside > permits) {
            let wrong = format!("{inside} inside, with {permits} permits");
            return Err(Stop::Wrong(wrong).into());
        }
    }
    Ok(())
}

pub(crate) fn permit_error(error: AcquireError) -> anyhow::Error {
    match error {
        AcquireError::TimedOut => Stop::TimedOut("others have all permits".to_owned()).into(),
        AcquireError::HolderSilent(incarnation) => {
            Stop::TimedOut(format!("{incarnation} has a permit, and is silent")).into()
        }
        other => other.into(),
    }
}

/// Returns a function that waits at the barrier and returns the phase.
fn barrier_waiter<'p>(party: &'p Party<'_>) -> Result<impl FnMut() -> Result<u32> + 'p> {
    let mut barrier = handles::barrier(party)?;
    let mut first = true;
    Ok(move || {
        // A party that used the barrier before and left is expected to arrive again.
        let passed = match std::mem::take(&mut first) {
            true => barrier.wait(&mut party.wait(), &mut AssumeAlive),
            false => barrier.wait(&mut party.wait(), &mut *party.liveness()),
        };
        passed.map(|arrival| arrival.phase).map_err(barrier_error)
    })
}

fn barrier(party: &Party<'_>, rounds: &mut Rounds) -> Result<()> {
    let mut wait_for_all = barrier_waiter(party)?;
    // The first wait returns the current phase.
    let mut phase = wait_for_all()?;
    for _ in rounds {
        let next = phase + 1;
        party.notes.arrive(party.number(), next);
        phase = wait_for_all()?;
        // All have noted it before they arrived, and may already have noted the next one.
        let parties = 1..=party.options.parties;
        let noted: Vec<_> = parties.map(|other| party.notes.phase(other)).collect();
        let early = noted
            .iter()
            .any(|&noted| noted != next && noted != next + 1);
        if early || phase != next {
            let wrong = format!("passed phase {phase} while the parties were at {noted:?}");
            return Err(Stop::Wrong(wrong).into());
        }
    }
    Ok(())
}

fn barrier_error(error: BarrierError) -> anyhow::Error {
    match error {
        BarrierError::TimedOut => Stop::TimedOut("not all parties have arrived".to_owned()).into(),
        BarrierError::PartySilent(incarnation) => {
            Stop::TimedOut(format!("{incarnation} is silent")).into()
        }
        BarrierError::Evicted => Stop::Evicted(error.to_string()).into(),
        other => other.into(),
    }
}
