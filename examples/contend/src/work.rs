//! Many short rounds under a lock.

use std::time::Instant;

use anyhow::Result;
use shmem_core::doorbell::Silent;
use shmem_sync::{
    AcquireError, AssumeAlive, BarrierError, Liveness, LockError, Mutex, ReadGuard, RwLock,
    Semaphore,
};

use crate::area;
use crate::cli::{Amount, Lock};
use crate::held::{Held, admitted, lost, refused};
use crate::ledger::{self, Counters};
use crate::party::Party;
use crate::sole;
use crate::stop::Stop;

/// Of so many rounds under the reader-writer lock, one writes.
const WRITES: u32 = 4;

pub(crate) fn run(party: &Party<'_>, lock: Lock, amount: &Amount) -> Result<()> {
    let mut rounds = Rounds::new(amount);
    if amount.meet {
        meeting(party)?()?;
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

/// Counts rounds, from 0, until it is enough.
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
        let is_over = round == self.limit || self.end.is_some_and(|end| Instant::now() >= end);
        (!is_over).then(|| {
            self.begun += 1;
            round
        })
    }
}

/// One round of one that is inside alone.
fn count(mut guard: Held<'_, '_>, party: &Party<'_>) -> Result<()> {
    guard.update(|counters| ledger::begin(counters, party.number()));
    guard.update(ledger::finish);
    Ok(guard.unlock().map_err(lost)?)
}

fn mutex(party: &Party<'_>, rounds: &mut Rounds) -> Result<()> {
    let mutex = Mutex::attach(party.area.open(area::mutex())?, party.incarnation, &Silent)?;
    for _ in rounds {
        let taken = mutex.lock(&mut party.wait(), &mut *party.liveness());
        count(admitted(taken, party)?, party)?;
    }
    Ok(())
}

fn bakery(party: &Party<'_>, rounds: &mut Rounds) -> Result<()> {
    let mut mutex = sole::bakery(party)?;
    for _ in rounds {
        let taken = mutex.lock(&mut party.wait(), &mut *party.liveness());
        count(admitted(taken, party)?, party)?;
    }
    Ok(())
}

fn rwlock(party: &Party<'_>, rounds: &mut Rounds) -> Result<()> {
    let lock = RwLock::attach(party.area.open(area::rwlock())?, party.incarnation, &Silent)?;
    for round in rounds {
        if round % WRITES == 0 {
            let taken = lock.write(&mut party.wait(), &mut *party.liveness());
            count(admitted(taken, party)?, party)?;
            continue;
        }
        let taken = lock.read(&mut party.wait(), &mut *party.liveness());
        match taken {
            Ok(guard) => read(&guard).and(Ok(guard)),
            // Whoever writes next mends it.
            Err(LockError::OwnerDied(guard)) => Ok(guard),
            Err(LockError::Failed(failure)) => return Err(refused(failure)),
        }?
        .unlock()
        .map_err(lost)?;
    }
    Ok(())
}

/// Looks twice at what nobody changes meanwhile.
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
    let semaphore = Semaphore::attach(segment, party.incarnation, &Silent)?;
    let permits = semaphore.permits();
    for _ in rounds {
        let taken = semaphore.acquire(&mut party.wait(), &mut *party.liveness());
        let permit = taken.map_err(no_permit)?;
        party.notes.enter(party.incarnation, true);
        let inside = party
            .notes
            .inside(|incarnation| party.liveness().is_gone(incarnation));
        party.notes.enter(party.incarnation, false);
        permit.release().map_err(lost)?;
        if let Some(inside) = inside.filter(|&inside| inside > permits) {
            let wrong = format!("{inside} inside, with {permits} permits");
            return Err(Stop::Wrong(wrong).into());
        }
    }
    Ok(())
}

pub(crate) fn no_permit(error: AcquireError) -> anyhow::Error {
    match error {
        AcquireError::TimedOut => Stop::Late("others have all permits".to_owned()).into(),
        AcquireError::HolderSilent(incarnation) => {
            Stop::Late(format!("{incarnation} has a permit, and is silent")).into()
        }
        other => other.into(),
    }
}

/// Meets the others at the barrier, and returns the phase, each time that it is called.
fn meeting<'p>(party: &'p Party<'_>) -> Result<impl FnMut() -> Result<u32> + 'p> {
    let mut barrier = sole::barrier(party)?;
    let mut first = true;
    Ok(move || {
        // Whoever was here before us and left is yet to come again.
        let met = match std::mem::take(&mut first) {
            true => barrier.wait(&mut party.wait(), &mut AssumeAlive),
            false => barrier.wait(&mut party.wait(), &mut *party.liveness()),
        };
        met.map(|arrival| arrival.phase).map_err(not_met)
    })
}

fn barrier(party: &Party<'_>, rounds: &mut Rounds) -> Result<()> {
    let mut meet = meeting(party)?;
    // Nobody knows the phase before the first meeting.
    let mut phase = meet()?;
    for _ in rounds {
        let next = phase + 1;
        party.notes.arrive(party.number(), next);
        phase = meet()?;
        // All have said it before they came, and may be on their way to the one after it.
        let parties = 1..=party.options.parties;
        let said: Vec<_> = parties.map(|other| party.notes.phase(other)).collect();
        let early = said.iter().any(|&said| said != next && said != next + 1);
        if early || phase != next {
            let wrong = format!("passed phase {phase} where the parties were at {said:?}");
            return Err(Stop::Wrong(wrong).into());
        }
    }
    Ok(())
}

fn not_met(error: BarrierError) -> anyhow::Error {
    match error {
        BarrierError::TimedOut => Stop::Late("not all parties have come".to_owned()).into(),
        BarrierError::PartySilent(incarnation) => {
            Stop::Late(format!("{incarnation} is silent")).into()
        }
        BarrierError::Evicted => Stop::Evicted(error.to_string()).into(),
        other => other.into(),
    }
}
