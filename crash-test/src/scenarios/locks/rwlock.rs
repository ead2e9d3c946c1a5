//! A reader-writer lock whose readers and writers die inside.

use fastrand::Rng;
use shmem_sync::RwLock;

use super::calls::{
    HOW, How, Numbers, hold_reading, hold_writing, locked, read, release_reading, release_writing,
};
use super::exclusive::{CASTS, HOLDER, Locker, layout};
use crate::kit::{
    OrViolation, Outcome, Party, Role, Scenario, Scene, Seat, Step, TestMemory, boxed,
};

type TestLock<'m> = RwLock<'m, Numbers>;

const WRITE: usize = 0;
const READ: usize = 2;

pub(crate) const RWLOCK: Scenario = Scenario {
    name: "rwlock",
    about: "readers and writers die while they hold the lock, and while they wait for it",
    roles: &[Role {
        proof: WRITE,
        recovery: &[READ, WRITE],
        ..Role::shared("locker", OPS, |seat| boxed(ReaderWriter::join(seat)))
    }],
    casts: CASTS,
    layout: |_| layout::<TestLock<'_>>(),
    starts: |_| 8,
    prepare,
    release_held,
    ..Scenario::BASE
};

const OPS: &[&str] = &["write", "try to write", "read", "try to read"];

/// Lets parties use the lock, then one die while it writes or reads; or lets `HOLDER` hold it.
fn prepare(scene: &Scene<'_>, start: u32) -> Outcome {
    if start % 2 == 1 {
        let mut rng = Rng::with_seed(start.into());
        let mut locker = scene.join(0, HOLDER)?;
        locker.perform_each([WRITE, READ], &mut rng)?;
    }
    match start {
        2 | 3 => scene.die(0, WRITE, 5),
        4 => scene.die(0, READ, 2),
        5 => scene.die(0, WRITE, 2),
        6 => {
            hold_writing(&scene.memory, HOLDER)?;
            scene.memory.ledger.held().set(1);
            Ok(())
        }
        7 => {
            let place = hold_reading(&scene.memory, HOLDER)? as u32;
            scene.memory.ledger.held().set(HELD_BY_READER + place);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The value of `held` for a living reader at place 0, plus its place; a writer is 1.
const HELD_BY_READER: u32 = 2;

fn release_held(memory: &TestMemory<'_>) -> Outcome {
    match memory.ledger.held().get().checked_sub(HELD_BY_READER) {
        None => release_writing(memory, HOLDER),
        Some(place) => release_reading(memory, HOLDER, place as usize),
    }
}

/// A party that writes or reads.
struct ReaderWriter<'m>(Locker<'m, TestLock<'m>>);

impl<'m> ReaderWriter<'m> {
    fn join(seat: Seat<'m>) -> Outcome<Self> {
        Ok(Self(Locker::join(seat)?))
    }

    fn read(&mut self, how: How) -> Outcome<Step> {
        let Locker {
            lock,
            pair,
            observer,
        } = &mut self.0;
        let Some(locked) = locked(&pair.memory, read(lock, how, observer))? else {
            return Ok(Step::Idle);
        };
        pair.read(locked.guard.window(), locked.owner_died)?;
        locked
            .guard
            .unlock()
            .or_violation("unlocking the reading side")?;
        Ok(Step::Done)
    }
}

impl Party for ReaderWriter<'_> {
    fn perform(&mut self, op: usize, _: &mut Rng) -> Outcome<Step> {
        match op.checked_sub(READ) {
            None => self.0.change(HOW[op]),
            Some(how) => self.read(HOW[how]),
        }
    }
}
