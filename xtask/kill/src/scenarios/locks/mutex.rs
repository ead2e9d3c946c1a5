//! A mutex and a bakery mutex whose owners die inside.

use fastrand::Rng;
use shmem_core::Life;
use shmem_registry::Kind;
use shmem_sync::raw::RawMutex;
use shmem_sync::{AssumeAlive, BakeryMutex, FutexBell, Mutex};

use super::super::{SMALL, die};
use super::twin::{self, Numbers, Twin};
use crate::deaths::{Deaths, LIMIT};
use crate::scenario::{Actor, Cast, Layout, Outcome, Role, Scenario, Step, ensure, unexpected};
use crate::stage::{PARTITIONS, Stage};

const ROLES: &[Role] = &[Role {
    name: "locker",
    ops: &["lock", "try to lock"],
    proof: 0,
    exclusive: false,
}];

pub(super) const CASTS: &[Cast] = &[
    Cast {
        victims: &[0, 0],
        survivors: &[0],
    },
    Cast {
        victims: &[0, 0, 0],
        survivors: &[0],
    },
];

struct Locker<'m> {
    mutex: Mutex<'m, Numbers>,
    twin: Twin<'m>,
    deaths: Deaths<'m>,
}

impl Actor for Locker<'_> {
    fn act(&mut self, op: usize, _: &mut Rng) -> Outcome<Step> {
        let mut wait = self.deaths.patience(LIMIT);
        let locked = match op {
            1 => self.mutex.try_lock(&mut self.deaths),
            _ => self.mutex.lock(&mut wait, &mut self.deaths),
        };
        let Some(guard) = self.twin.change(locked)? else {
            return Ok(Step::Idle);
        };
        guard.unlock().map_err(unexpected("unlocking"))?;
        self.twin.acknowledge()?;
        Ok(Step::Done)
    }
}

struct Customer<'m> {
    mutex: BakeryMutex<'m, Numbers>,
    twin: Twin<'m>,
    deaths: Deaths<'m>,
}

impl Actor for Customer<'_> {
    fn act(&mut self, op: usize, _: &mut Rng) -> Outcome<Step> {
        let mut wait = self.deaths.watch(LIMIT);
        let locked = match op {
            1 => self.mutex.try_lock(&mut self.deaths),
            _ => self.mutex.lock(&mut wait, &mut self.deaths),
        };
        let Some(guard) = self.twin.change(locked)? else {
            return Ok(Step::Idle);
        };
        guard.unlock().map_err(unexpected("unlocking"))?;
        self.twin.acknowledge()?;
        Ok(Step::Done)
    }
}

/// The mutex, as used by a life that holds it for a while.
fn holders<'m>(stage: &Stage<'m>) -> Outcome<RawMutex<'m>> {
    let mutex = RawMutex::attach(stage.object, Life::first(6), &FutexBell);
    mutex.map_err(unexpected("attaching to the lock"))
}

/// Which of the two it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Exclusion {
    Mutex,
    Bakery,
}

impl Scenario for Exclusion {
    fn name(&self) -> &'static str {
        match self {
            Self::Mutex => "mutex",
            Self::Bakery => "bakery",
        }
    }

    fn about(&self) -> &'static str {
        match self {
            Self::Mutex => "owners of a mutex die inside, and those that repair it",
            Self::Bakery => "the same of a bakery mutex, which has loads and stores only",
        }
    }

    fn roles(&self) -> &'static [Role] {
        ROLES
    }

    fn casts(&self) -> &'static [Cast] {
        CASTS
    }

    fn shapes(&self) -> &'static [u32] {
        &[0]
    }

    fn layout(&self, _: u32) -> Layout {
        let object = match self {
            Self::Mutex => (Kind::MUTEX, Mutex::<Numbers>::SEGMENT_LEN),
            Self::Bakery => (Kind::BAKERY, BakeryMutex::<Numbers>::SEGMENT_LEN),
        };
        Layout {
            geometry: SMALL,
            space: 0,
            object: Some(object),
            account: twin::ACCOUNT,
        }
    }

    fn starts(&self, _: u32) -> u32 {
        match self {
            Self::Mutex => 7,
            // Only who holds it can let go of it.
            Self::Bakery => 6,
        }
    }

    /// Used so often, and then left by one that died inside; or held.
    fn prepare<'m>(&self, stage: &Stage<'m>, start: u32, deaths: &Deaths<'m>) -> Outcome {
        let mut rng = Rng::with_seed(start.into());
        if start == 6 {
            let mutex = holders(stage)?;
            let held = mutex.try_lock(&mut AssumeAlive);
            let _ = held.map_err(unexpected("holding"))?;
            stage.held().set(1);
            return Ok(());
        }
        for turn in 0..start % 3 {
            let life = Life::first(5 + turn as u8);
            self.join(stage, 0, life, deaths.share())?
                .act(0, &mut rng)?;
        }
        if start >= 3 {
            die(self, stage, deaths, 0, 0, u64::from(start) + 2)?;
        }
        Ok(())
    }

    fn let_go(&self, stage: &Stage<'_>) -> Outcome {
        // SAFETY: the holder's, which uses the bytes no more.
        let released = unsafe { holders(stage)?.unlock() };
        released.map_err(unexpected("letting go"))
    }

    fn join<'m>(
        &self,
        stage: &Stage<'m>,
        _: usize,
        life: Life,
        deaths: Deaths<'m>,
    ) -> Outcome<Box<dyn Actor + 'm>> {
        let twin = Twin::new(*stage, life);
        let attaching = "attaching to the lock";
        Ok(match self {
            Self::Mutex => Box::new(Locker {
                mutex: Mutex::attach(stage.object, life, &FutexBell)
                    .map_err(unexpected(attaching))?,
                twin,
                deaths,
            }),
            Self::Bakery => Box::new(Customer {
                // SAFETY: the only handle of its life that is used.
                mutex: unsafe { BakeryMutex::attach(stage.object, life, PARTITIONS as u8) }
                    .map_err(unexpected(attaching))?,
                twin,
                deaths,
            }),
        })
    }

    fn audit<'m>(
        &self,
        _: &Stage<'m>,
        _: &Deaths<'m>,
        actors: &mut [&mut (dyn Actor + 'm)],
        _: bool,
    ) -> Outcome {
        let mut rng = Rng::with_seed(0);
        for actor in actors {
            for op in 0..ROLES[0].ops.len() {
                let step = actor.act(op, &mut rng)?;
                ensure(step == Step::Done, || {
                    "nobody is inside, and it is busy".to_owned()
                })?;
            }
        }
        Ok(())
    }
}
