//! One long round: acquires locks, and holds them until the command `release`.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use shmem_core::doorbell::NoDoorbell;
use shmem_sync::{LockError, Mutex, NotHeld, RwLock, Semaphore};

use crate::area;
use crate::cli;
use crate::handles;
use crate::held::{Held, finish_lock, lock_error, not_held_error};
use crate::ledger::{self, Counters};
use crate::party::Party;
use crate::report::Event;
use crate::stop::Stop;
use crate::work::permit_error;

/// Time between two checks for the command `release`.
const CHECK_INTERVAL: Duration = Duration::from_millis(5);

pub(crate) fn run(party: &Party<'_>, locks: &[cli::Held]) -> Result<()> {
    let bakeries = locks.iter().filter(|&&lock| lock == cli::Held::Bakery);
    ensure!(
        bakeries.count() <= 1,
        "a party has one handle to the bakery"
    );
    // Loaded before the locks: `release` may come as soon as another party sees us hold them.
    let before = party.notes.released(party.number());
    hold(party, locks, before)?;
    party.done(1);
    Ok(())
}

/// Acquires the first of `locks`, holds the others meanwhile, and releases it.
fn hold(party: &Party<'_>, locks: &[cli::Held], before: u32) -> Result<()> {
    let Some((&lock, others)) = locks.split_first() else {
        return wait_for_release(party, before);
    };
    let wait = &mut party.wait();
    let inside = || hold(party, others, before);
    match lock {
        cli::Held::Mutex => {
            let lock = Mutex::attach(
                party.area.open(area::mutex())?,
                party.incarnation,
                &NoDoorbell,
            )?;
            let taken = lock.lock(wait, &mut *party.liveness());
            alone(finish_lock(taken, party)?, party, inside)
        }
        cli::Held::Write => {
            let lock = RwLock::attach(
                party.area.open(area::rwlock())?,
                party.incarnation,
                &NoDoorbell,
            )?;
            let taken = lock.write(wait, &mut *party.liveness());
            alone(finish_lock(taken, party)?, party, inside)
        }
        cli::Held::Bakery => {
            let mut lock = handles::bakery(party)?;
            let taken = lock.lock(wait, &mut *party.liveness());
            alone(finish_lock(taken, party)?, party, inside)
        }
        cli::Held::Read => {
            let lock = RwLock::<Counters>::attach(
                party.area.open(area::rwlock())?,
                party.incarnation,
                &NoDoorbell,
            )?;
            let taken = lock.read(wait, &mut *party.liveness());
            match taken {
                Ok(guard) | Err(LockError::OwnerDied(guard)) => {
                    let stayed = inside();
                    release_unless_evicted(party, guard, |guard| guard.unlock())?;
                    stayed
                }
                Err(LockError::Failed(failure)) => Err(lock_error(failure)),
            }
        }
        cli::Held::Semaphore => {
            let segment = party.area.open(area::semaphore())?;
            let semaphore = Semaphore::attach(segment, party.incarnation, &NoDoorbell)?;
            let permit = semaphore.acquire(wait, &mut *party.liveness());
            let permit = permit.map_err(permit_error)?;
            party.notes.enter(party.incarnation, true);
            let stayed = inside();
            release_unless_evicted(party, permit, |permit| {
                party.notes.enter(party.incarnation, false);
                permit.release()
            })?;
            stayed
        }
    }
}

/// Makes a round with a long pause between its halves.
fn alone(
    mut guard: Held<'_, '_>,
    party: &Party<'_>,
    inside: impl FnOnce() -> Result<()>,
) -> Result<()> {
    guard.update(|counters| ledger::begin(counters, party.number()));
    let stayed = inside();
    release_unless_evicted(party, guard, |mut guard| {
        guard.update(ledger::finish);
        guard.unlock()
    })?;
    stayed
}

/// Waits for the command `release`, and checks meanwhile that this party is not evicted: an
/// evicted party no longer holds its locks.
fn wait_for_release(party: &Party<'_>, before: u32) -> Result<()> {
    party.report.say(&Event::Held);
    let began = Instant::now();
    while party.notes.released(party.number()) == before {
        party.check()?;
        if began.elapsed() > party.options.timeout {
            return Err(Stop::TimedOut("the command `release` did not come".to_owned()).into());
        }
        thread::sleep(CHECK_INTERVAL);
    }
    Ok(party.check()?)
}

/// Releases `held`, unless this party was evicted. Then it stores nothing more, and the party
/// that takes `held` over is warned of an incomplete change.
fn release_unless_evicted<G>(
    party: &Party<'_>,
    held: G,
    release: impl FnOnce(G) -> Result<(), NotHeld>,
) -> Result<()> {
    if let Err(evicted) = party.check() {
        std::mem::forget(held);
        return Err(evicted.into());
    }
    Ok(release(held).map_err(not_held_error)?)
}
