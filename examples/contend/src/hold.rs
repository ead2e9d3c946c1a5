//! One long round: locks are taken, and held until somebody says `release`.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use shmem_core::doorbell::Silent;
use shmem_sync::{LockError, Mutex, NotHeld, RwLock, Semaphore};

use crate::area;
use crate::cli;
use crate::held::{Held, admitted, lost, refused};
use crate::ledger::{self, Counters};
use crate::party::Party;
use crate::report::Event;
use crate::sole;
use crate::stop::Stop;
use crate::work::no_permit;

/// Between two looks whether it is to go on.
const NAP: Duration = Duration::from_millis(5);

pub(crate) fn run(party: &Party<'_>, locks: &[cli::Held]) -> Result<()> {
    let bakeries = locks.iter().filter(|&&lock| lock == cli::Held::Bakery);
    ensure!(
        bakeries.count() <= 1,
        "a party has one handle to the bakery"
    );
    // Before a lock is had: who sees us hold it may say it at once.
    let before = party.notes.released(party.number());
    hold(party, locks, before)?;
    party.done(1);
    Ok(())
}

/// Takes the first of `locks`, holds the others meanwhile, and gives it back.
fn hold(party: &Party<'_>, locks: &[cli::Held], before: u32) -> Result<()> {
    let Some((&lock, others)) = locks.split_first() else {
        return stay(party, before);
    };
    let wait = &mut party.wait();
    let inside = || hold(party, others, before);
    match lock {
        cli::Held::Mutex => {
            let lock = Mutex::attach(party.area.open(area::mutex())?, party.incarnation, &Silent)?;
            let taken = lock.lock(wait, &mut *party.liveness());
            alone(admitted(taken, party)?, party, inside)
        }
        cli::Held::Write => {
            let lock =
                RwLock::attach(party.area.open(area::rwlock())?, party.incarnation, &Silent)?;
            let taken = lock.write(wait, &mut *party.liveness());
            alone(admitted(taken, party)?, party, inside)
        }
        cli::Held::Bakery => {
            let mut lock = sole::bakery(party)?;
            let taken = lock.lock(wait, &mut *party.liveness());
            alone(admitted(taken, party)?, party, inside)
        }
        cli::Held::Read => {
            let lock = RwLock::<Counters>::attach(
                party.area.open(area::rwlock())?,
                party.incarnation,
                &Silent,
            )?;
            let taken = lock.read(wait, &mut *party.liveness());
            match taken {
                Ok(guard) | Err(LockError::OwnerDied(guard)) => {
                    let stayed = inside();
                    keep_or(party, guard, |guard| guard.unlock())?;
                    stayed
                }
                Err(LockError::Failed(failure)) => Err(refused(failure)),
            }
        }
        cli::Held::Semaphore => {
            let segment = party.area.open(area::semaphore())?;
            let semaphore = Semaphore::attach(segment, party.incarnation, &Silent)?;
            let permit = semaphore.acquire(wait, &mut *party.liveness());
            let permit = permit.map_err(no_permit)?;
            party.notes.enter(party.incarnation, true);
            let stayed = inside();
            keep_or(party, permit, |permit| {
                party.notes.enter(party.incarnation, false);
                permit.release()
            })?;
            stayed
        }
    }
}

/// A round with a long pause between its halves.
fn alone(
    mut guard: Held<'_, '_>,
    party: &Party<'_>,
    inside: impl FnOnce() -> Result<()>,
) -> Result<()> {
    guard.update(|counters| ledger::begin(counters, party.number()));
    let stayed = inside();
    keep_or(party, guard, |mut guard| {
        guard.update(ledger::finish);
        guard.unlock()
    })?;
    stayed
}

/// Waits until it is to go on, and looks meanwhile whether it still has its place: what it
/// holds is not its own any more if it has not.
fn stay(party: &Party<'_>, before: u32) -> Result<()> {
    party.report.say(&Event::Held);
    let began = Instant::now();
    while party.notes.released(party.number()) == before {
        party.check()?;
        if began.elapsed() > party.options.timeout {
            return Err(Stop::Late("nobody has said `release`".to_owned()).into());
        }
        thread::sleep(NAP);
    }
    Ok(party.check()?)
}

/// Gives `held` back, unless this party was evicted: then it stores nothing more, and
/// whoever takes it over is warned of what was left half-done.
fn keep_or<G>(
    party: &Party<'_>,
    held: G,
    give_back: impl FnOnce(G) -> Result<(), NotHeld>,
) -> Result<()> {
    if let Err(evicted) = party.check() {
        std::mem::forget(held);
        return Err(evicted.into());
    }
    Ok(give_back(held).map_err(lost)?)
}
