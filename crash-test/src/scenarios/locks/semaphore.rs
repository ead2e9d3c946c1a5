//! A semaphore whose permits are held by parties that die.

use fastrand::Rng;
use shmem_registry::Kind;
use shmem_sync::{AddError, Liveness, Semaphore};

use super::calls::{How, acquire, acquired, hold_permits, release_permits, semaphore};
use super::exclusive::{CASTS, HOLDER};
use crate::kit::{
    Actor, Cell, Count, Incarnation, Layout, Observer, OrViolation, Outcome, PARTITIONS, Party,
    Role, Scenario, Scene, Seat, Step, TestMemory, boxed, ensure, unexpected,
};

const ACQUIRE: usize = 0;
const TRY: usize = 1;
const TWO: usize = 2;
const ADD: usize = 3;

const OPS: &[&str] = &[
    "acquire",
    "try to acquire",
    "acquire two",
    "add, acquire, consume",
];

/// Room for the permits that dead parties have added.
const ROOM: usize = 64;

/// An incarnation that does not die.
const FOUNDER: Incarnation = Incarnation::first(u8::MAX);

pub(crate) const SEMAPHORE: Scenario = Scenario {
    name: "semaphore",
    about: "holders of permits die, and parties that add permits",
    roles: &[Role::shared("holder", OPS, |seat| {
        boxed(Holder::join(seat))
    })],
    casts: CASTS,
    // The initial number of permits.
    shapes: &[1, 3],
    layout: |shape| {
        let len = Semaphore::segment_len(shape as usize + ROOM);
        Layout::with_object(Kind::SEMAPHORE, len, 8 + 2 * PARTITIONS)
    },
    initialize,
    starts: |_| 6,
    prepare,
    release_held,
    audit,
    ..Scenario::BASE
};

fn initialize(memory: &TestMemory<'_>) -> Outcome {
    let added = semaphore(memory, FOUNDER)?.add(memory.shape as usize);
    added.or_violation("adding the first permits")?;
    let account = Account(*memory);
    account.added().attempted.set(memory.shape);
    account.added().acknowledged.set(memory.shape);
    Ok(())
}

/// Lets parties use permits, or die while they hold or add one; or lets `HOLDER` hold all.
fn prepare(scene: &Scene<'_>, start: u32) -> Outcome {
    match start {
        1 => {
            let mut rng = Rng::with_seed(start.into());
            scene.join(0, HOLDER)?.perform(ACQUIRE, &mut rng).map(drop)
        }
        2 => scene.die(0, ACQUIRE, 1),
        3 => scene.die(0, ADD, 1),
        4 => scene.die(0, ADD, 3),
        5 => hold_all(&scene.memory),
        _ => Ok(()),
    }
}

fn hold_all(memory: &TestMemory<'_>) -> Outcome {
    hold_permits(memory, HOLDER, memory.shape)?;
    memory.ledger.held().set(memory.shape);
    Ok(())
}

fn release_held(memory: &TestMemory<'_>) -> Outcome {
    release_permits(memory, HOLDER)
}

/// Checks that the expected number of permits can be acquired.
fn audit<'m>(scene: &Scene<'m>, _: &mut [&mut Actor<'m>], _: bool) -> Outcome {
    let memory = &scene.memory;
    let semaphore = semaphore(memory, FOUNDER)?;
    let mut permits = Vec::new();
    scene.observer.share().retry_until_detected(|observer| {
        while let Some(permit) = acquired(memory, acquire(&semaphore, How::Try, observer))? {
            permits.push(permit);
        }
        Ok(semaphore.permits() == permits.len())
    })?;
    let account = Account(*memory);
    let (least, most, all) = (account.least(), account.most(), permits.len());
    ensure((least as usize..=most as usize).contains(&all), || {
        format!("{all} permits could be acquired, not {least} to {most}")
    })?;
    let counts = (semaphore.permits(), semaphore.available());
    ensure(counts == (all, 0), || {
        format!("all {all} permits are held, and the counts are {counts:?}")
    })?;
    drop(permits);
    let available = semaphore.available();
    ensure(available == all, || {
        format!("{all} permits were released, and {available} are available")
    })
}

/// The number of permits, and how many each partition holds.
#[derive(Clone, Copy)]
struct Account<'m>(TestMemory<'m>);

impl<'m> Account<'m> {
    fn added(self) -> Count<'m> {
        self.0.ledger.count(0)
    }

    fn consumed(self) -> Count<'m> {
        self.0.ledger.count(2)
    }

    fn least(self) -> u32 {
        let added = self.added().acknowledged.get();
        added.saturating_sub(self.consumed().attempted.get())
    }

    fn most(self) -> u32 {
        let consumed = self.consumed().acknowledged.get();
        self.added().attempted.get() - consumed
    }

    /// The incarnation of a partition, and how many permits it holds.
    fn holds(self, partition: usize) -> (Cell<'m>, Cell<'m>) {
        let at = 8 + partition % PARTITIONS * 2;
        (self.0.ledger.account(at), self.0.ledger.account(at + 1))
    }

    /// Notes that `us` acquired a permit, and checks that the living do not hold too many.
    fn acquired(self, us: Incarnation, observer: &mut Observer<'m>) -> Outcome {
        let (holder, count) = self.holds(us.partition().into());
        if holder.get() != us.word() || observer.is_gone(us) {
            return Ok(()); // Others may have the permits that it thinks it holds.
        }
        count.add(1);
        // Read before the permits that they bound; `added` after them.
        let consumed = self.consumed().acknowledged.get();
        let mut living = 0;
        for partition in 0..PARTITIONS {
            let (holder, count) = self.holds(partition);
            let count = count.get();
            let holder = Incarnation::from_word(holder.get()).filter(|_| count != 0);
            if holder.is_some_and(|holder| holder == us || !observer.is_truly_gone(holder)) {
                living += count;
            }
        }
        let most = self.added().attempted.get() - consumed;
        ensure(living <= most, || {
            format!("living parties hold {living} permits, of at most {most}")
        })
    }

    /// Notes that `us` is about to release a permit.
    fn releases(self, us: Incarnation) {
        let (holder, count) = self.holds(us.partition().into());
        if holder.get() == us.word() {
            count.set(count.get().saturating_sub(1));
        }
    }
}

struct Holder<'m> {
    semaphore: Semaphore<'m>,
    account: Account<'m>,
    us: Incarnation,
    observer: Observer<'m>,
}

impl<'m> Holder<'m> {
    fn join(seat: Seat<'m>) -> Outcome<Self> {
        let us = seat.incarnation;
        let semaphore = semaphore(&seat.memory, us)?;
        let account = Account(seat.memory);
        let (holder, count) = account.holds(us.partition().into());
        count.set(0);
        holder.set(us.word());
        Ok(Self {
            semaphore,
            account,
            us,
            observer: seat.observer,
        })
    }

    fn acquire(&mut self, op: usize) -> Outcome<Step> {
        let (account, us, observer) = (self.account, self.us, &mut self.observer);
        let how = match op {
            TRY => How::Try,
            _ => How::Wait,
        };
        let semaphore = &self.semaphore;
        let Some(permit) = acquired(&account.0, acquire(semaphore, how, observer))? else {
            return Ok(Step::Idle);
        };
        account.acquired(us, observer)?;
        if op == TWO
            && let Some(second) = acquired(&account.0, acquire(semaphore, How::Try, observer))?
        {
            account.acquired(us, observer)?;
            account.releases(us);
            drop(second);
        }
        account.releases(us);
        permit.release().or_violation("releasing a permit")?;
        Ok(Step::Done)
    }

    fn add(&mut self) -> Outcome<Step> {
        let (added, consumed) = (self.account.added(), self.account.consumed());
        added.attempted.add(1);
        match self.semaphore.add(1) {
            Ok(()) => {}
            Err(AddError::Overflow { .. }) => {
                // Dead parties left too many permits.
                added.attempted.add(u32::MAX);
                return Ok(Step::Done);
            }
            // The permit may have been added.
            Err(error) => return Err(unexpected("adding", error)),
        }
        added.acknowledged.add(1);
        let permit = acquire(&self.semaphore, How::Wait, &mut self.observer);
        let permit = permit.or_violation("acquiring the added permit")?;
        consumed.attempted.add(1);
        permit.consume().or_violation("consuming")?;
        consumed.acknowledged.add(1);
        Ok(Step::Done)
    }
}

impl Party for Holder<'_> {
    fn perform(&mut self, op: usize, _: &mut Rng) -> Outcome<Step> {
        match op {
            ADD => self.add(),
            _ => self.acquire(op),
        }
    }
}
