//! Many short rounds under a lock.

use anyhow::Result;
use shmem_core::doorbell::Silent;
use shmem_sync::{
    AcquireError, BakeryMutex, Barrier, BarrierError, Liveness, LockError, Mutex, ReadGuard,
    RwLock, Semaphore,
};

use crate::area;
use crate::cli::{Lock, PARTIES};
use crate::held::{Held, admitted, lost, refused};
use crate::ledger::Ledger;
use crate::party::Party;
use crate::report::Stop;

/// Of so many rounds under the reader-writer lock, one writes.
const WRITES: u32 = 4;

pub(crate) fn run(party: &Party<'_>, lock: Lock, rounds: u32) -> Result<()> {
    match lock {
        Lock::Mutex => mutex(party, rounds)?,
        Lock::Semaphore => semaphore(party, rounds)?,
        Lock::Rwlock => rwlock(party, rounds)?,
        Lock::Bakery => bakery(party, rounds)?,
        Lock::Barrier => barrier(party, rounds)?,
    }
    party.done(rounds);
    Ok(())
}

/// One round of one that is inside alone.
fn count<'m, G: Held<'m>>(guard: G, party: &Party<'m>) -> Result<()> {
    guard.ledger().begin(party.number());
    guard.ledger().finish();
    Ok(guard.give_back().map_err(lost)?)
}

fn mutex(party: &Party<'_>, rounds: u32) -> Result<()> {
    let mutex = Mutex::attach(party.area.open(area::mutex())?, party.life, Silent)?;
    for _ in 0..rounds {
        let taken = mutex.lock(&mut party.wait(), &mut *party.liveness());
        count(admitted(taken, party)?, party)?;
    }
    Ok(())
}

fn bakery(party: &Party<'_>, rounds: u32) -> Result<()> {
    let segment = party.area.open(area::bakery())?;
    let mut mutex = BakeryMutex::attach_among(segment, party.life, PARTIES)?;
    for _ in 0..rounds {
        let taken = mutex.lock(&mut party.wait(), &mut *party.liveness());
        count(admitted(taken, party)?, party)?;
    }
    Ok(())
}

fn rwlock(party: &Party<'_>, rounds: u32) -> Result<()> {
    let lock = RwLock::attach(party.area.open(area::rwlock())?, party.life, Silent)?;
    for round in 0..rounds {
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
            Err(error) => return Err(refused(error)),
        }?
        .unlock()
        .map_err(lost)?;
    }
    Ok(())
}

/// Looks twice at what nobody changes meanwhile.
fn read(guard: &ReadGuard<'_, '_, Silent>) -> Result<(), Stop> {
    let ledger = Ledger::new(guard.data());
    let before = ledger.total();
    ledger.check()?;
    match ledger.total() {
        after if after == before => Ok(()),
        after => Err(Stop::Wrong(format!(
            "{before}, then {after}, while it was read"
        ))),
    }
}

fn semaphore(party: &Party<'_>, rounds: u32) -> Result<()> {
    let segment = party.area.open(area::semaphore())?;
    let semaphore = Semaphore::attach(segment, party.life, Silent)?;
    let permits = semaphore.permits();
    for _ in 0..rounds {
        let taken = semaphore.acquire(&mut party.wait(), &mut *party.liveness());
        let permit = taken.map_err(no_permit)?;
        party.notes.enter(party.life, true);
        let inside = party.notes.inside(|life| party.liveness().is_gone(life));
        party.notes.enter(party.life, false);
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
        AcquireError::TimedOut => Stop::Late("others have all permits").into(),
        other => other.into(),
    }
}

fn barrier(party: &Party<'_>, rounds: u32) -> Result<()> {
    let segment = party.area.open(area::barrier())?;
    let parties = party.options.parties;
    let mut barrier = Barrier::attach(segment, party.life, parties.into(), Silent)?;
    let mut meet = || {
        let met = barrier.wait(&mut party.wait(), &mut *party.liveness());
        met.map(|arrival| arrival.phase).map_err(not_met)
    };
    // Nobody knows the phase before the first meeting.
    let mut phase = meet()?;
    for _ in 0..rounds {
        let next = phase + 1;
        party.notes.arrive(party.number(), next);
        phase = meet()?;
        // All have said it before they came, and may be on their way to the one after it.
        let said = (1..=parties).map(|other| party.notes.phase(other));
        let said: Vec<_> = said.collect();
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
        BarrierError::TimedOut => Stop::Late("not all parties have come").into(),
        other => other.into(),
    }
}
