//! A semaphore whose permits are held by lives that die.

use fastrand::Rng;
use shmem_core::Life;
use shmem_registry::Kind;
use shmem_sync::raw::RawSemaphore;
use shmem_sync::{AcquireError, AddError, AssumeAlive, FutexBell, Liveness, Semaphore};

use super::super::{SMALL, die};
use super::mutex::CASTS;
use crate::deaths::{Deaths, LIMIT};
use crate::scenario::{
    Actor, Cast, Layout, Outcome, Role, Scenario, Step, ensure, is_in_vain, unexpected,
};
use crate::stage::{Cell, PARTITIONS, Stage};

const ACQUIRE: usize = 0;
const TRY: usize = 1;
const TWO: usize = 2;
const ADD: usize = 3;

const ROLES: &[Role] = &[Role {
    name: "holder",
    ops: &[
        "acquire",
        "try to acquire",
        "acquire two",
        "add, acquire, consume",
    ],
    proof: ACQUIRE,
    exclusive: false,
}];

/// Room for the permits that adders leave when they die.
const ROOM: usize = 64;

pub(in super::super) struct SemaphoreScenario;

/// How many permits there are, and who holds how many.
#[derive(Clone, Copy)]
struct Account<'m>(Stage<'m>);

impl<'m> Account<'m> {
    fn cell(self, at: usize) -> Cell<'m> {
        self.0.ledger.account(at)
    }

    /// Permits that may have been added.
    fn adding(self) -> Cell<'m> {
        self.cell(0)
    }

    /// Permits that were added.
    fn added(self) -> Cell<'m> {
        self.cell(1)
    }

    /// Permits that may have been consumed.
    fn consuming(self) -> Cell<'m> {
        self.cell(2)
    }

    /// Permits that were consumed.
    fn consumed(self) -> Cell<'m> {
        self.cell(3)
    }

    fn least(self) -> u32 {
        self.added().get().saturating_sub(self.consuming().get())
    }

    fn most(self) -> u32 {
        let consumed = self.consumed().get();
        self.adding().get() - consumed
    }

    /// The life of a partition, and how many permits it holds.
    fn holds(self, partition: usize) -> (Cell<'m>, Cell<'m>) {
        let at = 8 + partition % PARTITIONS * 2;
        (self.cell(at), self.cell(at + 1))
    }
}

struct Holder<'m> {
    semaphore: Semaphore<'m>,
    account: Account<'m>,
    life: Life,
    deaths: Deaths<'m>,
}

impl<'m> Account<'m> {
    /// `us` acquired a permit: there are all those that the living hold.
    fn took(self, us: Life, deaths: &mut Deaths<'m>) -> Outcome {
        let (life, count) = self.holds(us.partition().into());
        if life.get() != us.word() || deaths.is_gone(us) {
            return Ok(()); // Others may have what it thinks it holds.
        }
        count.add(1);
        // Before and behind what they bound.
        let consumed = self.consumed().get();
        let mut living = 0;
        for partition in 0..PARTITIONS {
            let (life, count) = self.holds(partition);
            let count = count.get();
            let holder = Life::from_word(life.get()).filter(|_| count != 0);
            if holder.is_some_and(|life| life == us || !deaths.is_truly_over(life)) {
                living += count;
            }
        }
        let most = self.adding().get() - consumed;
        ensure(living <= most, || {
            format!("the living hold {living} permits of {most} at the most")
        })
    }

    /// `us` is about to give a permit back.
    fn gives(self, us: Life) {
        let (life, count) = self.holds(us.partition().into());
        if life.get() == us.word() {
            count.set(count.get().saturating_sub(1));
        }
    }
}

impl Holder<'_> {
    fn acquire(&mut self, op: usize) -> Outcome<Step> {
        let (account, us) = (self.account, self.life);
        let mut wait = self.deaths.patience(LIMIT);
        let acquired = match op {
            TRY => self.semaphore.try_acquire(&mut self.deaths),
            _ => self.semaphore.acquire(&mut wait, &mut self.deaths),
        };
        let Some(permit) = held(&account.0, acquired)? else {
            return Ok(Step::Idle);
        };
        account.took(us, &mut self.deaths)?;
        if op == TWO
            && let Some(second) = held(&account.0, self.semaphore.try_acquire(&mut self.deaths))?
        {
            account.took(us, &mut self.deaths)?;
            account.gives(us);
            drop(second);
        }
        account.gives(us);
        permit
            .release()
            .map_err(unexpected("giving a permit back"))?;
        Ok(Step::Done)
    }

    fn add(&mut self) -> Outcome<Step> {
        let account = self.account;
        account.adding().add(1);
        match self.semaphore.add(1) {
            Ok(()) => {}
            Err(AddError::Overflow { .. }) => {
                // Those that died left too many.
                account.adding().add(u32::MAX);
                return Ok(Step::Done);
            }
            // Perhaps it was added.
            Err(error) => return Err(unexpected("adding")(error)),
        }
        account.added().add(1);
        let mut wait = self.deaths.patience(LIMIT);
        let acquired = self.semaphore.acquire(&mut wait, &mut self.deaths);
        let permit = acquired.map_err(unexpected("acquiring where we added"))?;
        account.consuming().add(1);
        permit.consume().map_err(unexpected("consuming"))?;
        account.consumed().add(1);
        Ok(Step::Done)
    }
}

/// The permit; none if all are held.
fn held<P>(stage: &Stage<'_>, acquired: Result<P, AcquireError>) -> Outcome<Option<P>> {
    match acquired {
        Ok(permit) => Ok(Some(permit)),
        Err(AcquireError::Busy) => Ok(None),
        Err(error) if is_in_vain(&error) && stage.held().get() != 0 => Ok(None),
        Err(error) => Err(unexpected("acquiring")(error)),
    }
}

impl Actor for Holder<'_> {
    fn act(&mut self, op: usize, _: &mut Rng) -> Outcome<Step> {
        match op {
            ADD => self.add(),
            _ => self.acquire(op),
        }
    }
}

impl Scenario for SemaphoreScenario {
    fn name(&self) -> &'static str {
        "semaphore"
    }

    fn about(&self) -> &'static str {
        "holders of permits die, and those that add some"
    }

    fn roles(&self) -> &'static [Role] {
        ROLES
    }

    fn casts(&self) -> &'static [Cast] {
        CASTS
    }

    /// Permits to begin with.
    fn shapes(&self) -> &'static [u32] {
        &[1, 3]
    }

    fn layout(&self, shape: u32) -> Layout {
        let len = Semaphore::segment_len(shape as usize + ROOM);
        Layout {
            geometry: SMALL,
            space: 0,
            object: Some((Kind::SEMAPHORE, len)),
            account: 8 + 2 * PARTITIONS,
        }
    }

    fn found(&self, stage: &Stage<'_>) -> Outcome {
        let semaphore = founders(stage)?;
        semaphore
            .add(stage.shape as usize)
            .map_err(unexpected("adding the first permits"))?;
        let account = Account(*stage);
        account.adding().set(stage.shape);
        account.added().set(stage.shape);
        Ok(())
    }

    fn starts(&self, _: u32) -> u32 {
        6
    }

    /// Used, or left by lives that died holding, or adding; or all held.
    fn prepare<'m>(&self, stage: &Stage<'m>, start: u32, deaths: &Deaths<'m>) -> Outcome {
        let mut rng = Rng::with_seed(start.into());
        match start {
            1 => {
                let mut holder = self.join(stage, 0, Life::first(6), deaths.share())?;
                holder.act(ACQUIRE, &mut rng).map(drop)
            }
            2 => die(self, stage, deaths, 0, ACQUIRE, 1),
            3 => die(self, stage, deaths, 0, ADD, 1),
            4 => die(self, stage, deaths, 0, ADD, 3),
            5 => {
                let semaphore = holders(stage)?;
                for _ in 0..stage.shape {
                    let place = semaphore.try_acquire(&mut AssumeAlive);
                    place.map_err(unexpected("holding"))?;
                }
                stage.held().set(stage.shape);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn let_go(&self, stage: &Stage<'_>) -> Outcome {
        let semaphore = holders(stage)?;
        semaphore.held().try_for_each(|place| {
            // SAFETY: the holder's, which has kept no permit.
            let released = unsafe { semaphore.release(place) };
            released.map_err(unexpected("letting go"))
        })
    }

    fn join<'m>(
        &self,
        stage: &Stage<'m>,
        _: usize,
        life: Life,
        deaths: Deaths<'m>,
    ) -> Outcome<Box<dyn Actor + 'm>> {
        let semaphore = Semaphore::attach(stage.object, life, &FutexBell);
        let account = Account(*stage);
        let (holder, count) = account.holds(life.partition().into());
        count.set(0);
        holder.set(life.word());
        Ok(Box::new(Holder {
            semaphore: semaphore.map_err(unexpected("attaching to the semaphore"))?,
            account,
            life,
            deaths,
        }))
    }

    fn audit<'m>(
        &self,
        stage: &Stage<'m>,
        deaths: &Deaths<'m>,
        _: &mut [&mut (dyn Actor + 'm)],
        _: bool,
    ) -> Outcome {
        let semaphore = founders(stage)?;
        let account = Account(*stage);
        let mut deaths = deaths.share();
        let mut permits = Vec::new();
        deaths.until_known(|deaths| {
            while let Some(permit) = held(stage, semaphore.try_acquire(deaths))? {
                permits.push(permit);
            }
            Ok(semaphore.permits() == permits.len())
        })?;
        let (least, most, all) = (account.least(), account.most(), permits.len());
        ensure((least as usize..=most as usize).contains(&all), || {
            format!("{all} permits could be had, not {least} to {most}")
        })?;
        let there = (semaphore.permits(), semaphore.available());
        ensure(there == (all, 0), || {
            format!("all {all} permits are held, and there are {there:?}")
        })?;
        drop(permits);
        let available = semaphore.available();
        ensure(available == all, || {
            format!("{all} permits were given back, and {available} are available")
        })
    }
}

/// The semaphore, as used by a life that holds all permits for a while.
fn holders<'m>(stage: &Stage<'m>) -> Outcome<RawSemaphore<'m>> {
    let semaphore = RawSemaphore::attach(stage.object, Life::first(6), &FutexBell);
    semaphore.map_err(unexpected("attaching to the semaphore"))
}

/// The semaphore, as used by a life that does not die.
fn founders<'m>(stage: &Stage<'m>) -> Outcome<Semaphore<'m>> {
    let semaphore = Semaphore::attach(stage.object, Life::first(u8::MAX), &FutexBell);
    semaphore.map_err(unexpected("attaching to the semaphore"))
}
