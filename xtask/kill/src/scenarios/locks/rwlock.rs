//! A reader-writer lock whose readers and writers die inside.

use fastrand::Rng;
use shmem_core::Life;
use shmem_registry::Kind;
use shmem_sync::raw::RawRwLock;
use shmem_sync::{AssumeAlive, FutexBell, RwLock};

use super::super::{SMALL, die};
use super::mutex::CASTS;
use super::twin::{self, Numbers, Twin};
use crate::deaths::{Deaths, LIMIT};
use crate::scenario::{Actor, Cast, Layout, Outcome, Role, Scenario, Step, ensure, unexpected};
use crate::stage::Stage;

const WRITE: usize = 0;
const TRY_WRITE: usize = 1;
const READ: usize = 2;
const TRY_READ: usize = 3;

const ROLES: &[Role] = &[Role {
    name: "locker",
    ops: &["write", "try to write", "read", "try to read"],
    proof: WRITE,
    exclusive: false,
}];

pub(in super::super) struct RwLockScenario;

/// What is said of a lock that a living life holds; of a reader, and its place.
const HELD_BY_WRITER: u32 = 1;
const HELD_BY_READER: u32 = 2;

/// The lock, as used by a life that holds it for a while.
fn holders<'m>(stage: &Stage<'m>) -> Outcome<RawRwLock<'m>> {
    let lock = RawRwLock::attach(stage.object, Life::first(6), &FutexBell);
    lock.map_err(unexpected("attaching to the lock"))
}

struct Locker<'m> {
    lock: RwLock<'m, Numbers>,
    twin: Twin<'m>,
    deaths: Deaths<'m>,
}

impl Locker<'_> {
    fn write(&mut self, op: usize) -> Outcome<Step> {
        let mut wait = self.deaths.patience(LIMIT);
        let locked = match op {
            TRY_WRITE => self.lock.try_write(&mut self.deaths),
            _ => self.lock.write(&mut wait, &mut self.deaths),
        };
        let Some(guard) = self.twin.change(locked)? else {
            return Ok(Step::Idle);
        };
        self.twin.is_unread(&mut self.deaths)?;
        guard.unlock().map_err(unexpected("ending to write"))?;
        self.twin.acknowledge()?;
        Ok(Step::Done)
    }

    fn read(&mut self, op: usize) -> Outcome<Step> {
        let mut wait = self.deaths.patience(LIMIT);
        let locked = match op {
            TRY_READ => self.lock.try_read(&mut self.deaths),
            _ => self.lock.read(&mut wait, &mut self.deaths),
        };
        let Some(guard) = self.twin.read(locked)? else {
            return Ok(Step::Idle);
        };
        guard.unlock().map_err(unexpected("ending to read"))?;
        Ok(Step::Done)
    }
}

impl Actor for Locker<'_> {
    fn act(&mut self, op: usize, _: &mut Rng) -> Outcome<Step> {
        if op < READ {
            self.write(op)
        } else {
            self.read(op)
        }
    }
}

impl Scenario for RwLockScenario {
    fn name(&self) -> &'static str {
        "rwlock"
    }

    fn about(&self) -> &'static str {
        "readers and writers die inside, and those that wait"
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
        let len = RwLock::<Numbers>::SEGMENT_LEN;
        Layout {
            geometry: SMALL,
            space: 0,
            object: Some((Kind::RWLOCK, len)),
            account: twin::ACCOUNT,
        }
    }

    fn starts(&self, _: u32) -> u32 {
        8
    }

    /// Used, and then left by one that died writing, or reading; or held.
    fn prepare<'m>(&self, stage: &Stage<'m>, start: u32, deaths: &Deaths<'m>) -> Outcome {
        let mut rng = Rng::with_seed(start.into());
        if start % 2 == 1 {
            let mut locker = self.join(stage, 0, Life::first(6), deaths.share())?;
            locker.act(WRITE, &mut rng)?;
            locker.act(READ, &mut rng)?;
        }
        match start {
            2 | 3 => die(self, stage, deaths, 0, WRITE, 5),
            4 => die(self, stage, deaths, 0, READ, 2),
            5 => die(self, stage, deaths, 0, WRITE, 2),
            6 => {
                let lock = holders(stage)?;
                let held = lock.try_write(&mut AssumeAlive);
                let _ = held.map_err(unexpected("holding"))?;
                stage.held().set(HELD_BY_WRITER);
                Ok(())
            }
            7 => {
                let lock = holders(stage)?;
                let held = lock.try_read(&mut AssumeAlive);
                let (_, place) = held.map_err(unexpected("holding"))?;
                stage.held().set(HELD_BY_READER + place as u32);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn let_go(&self, stage: &Stage<'_>) -> Outcome {
        let lock = holders(stage)?;
        let given = match stage.held().get() {
            // SAFETY: the holder's, which uses the bytes no more.
            HELD_BY_WRITER => unsafe { lock.unlock_write() },
            // SAFETY: as above.
            held => unsafe { lock.unlock_read((held - HELD_BY_READER) as usize) },
        };
        given.map_err(unexpected("letting go"))
    }

    fn join<'m>(
        &self,
        stage: &Stage<'m>,
        _: usize,
        life: Life,
        deaths: Deaths<'m>,
    ) -> Outcome<Box<dyn Actor + 'm>> {
        let lock = RwLock::attach(stage.object, life, &FutexBell);
        Ok(Box::new(Locker {
            lock: lock.map_err(unexpected("attaching to the lock"))?,
            twin: Twin::new(*stage, life),
            deaths,
        }))
    }

    fn recovery(&self, _: usize) -> Vec<usize> {
        vec![READ, WRITE]
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
