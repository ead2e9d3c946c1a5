//! A reader-writer lock whose readers and writers die inside.

use fastrand::Rng;
use shmem_sync::{FutexBell, RwLock};

use super::calls::{HOW, How, Lock, forget_reader, locked, read, read_bytes, unlock_read};
use super::exclusive::{CASTS, HOLDER, Locker, hold, layout, release};
use crate::kit::{
    Observer, OrViolation, Outcome, Party, Role, Scenario, Scene, Seat, Step, TestMemory, boxed,
};

type TestLock<'m> = RwLock<'m, FutexBell>;

const WRITE: usize = 0;
const READ: usize = 3;

pub(crate) const RWLOCK: Scenario = Scenario {
    name: "rwlock",
    about: "readers and writers die inside, and those that wait",
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

const OPS: &[&str] = &[
    "write",
    "try to write",
    "write, forget, release",
    "read",
    "try to read",
    "read, forget, release",
];

/// Used, and then left by one that died writing, or reading; or held.
fn prepare(scene: &Scene<'_>, start: u32) -> Outcome {
    if start % 2 == 1 {
        let mut rng = Rng::with_seed(start.into());
        let mut locker = scene.join(0, HOLDER)?;
        locker.perform_each([WRITE, READ], &mut rng)?;
    }
    match start {
        2 | 3 => scene.die(0, WRITE, 4),
        4 => scene.die(0, READ, 1),
        5 => scene.die(0, WRITE, 1),
        6 => hold::<TestLock<'_>>(&scene.memory),
        7 => hold_reading(&scene.memory),
        _ => Ok(()),
    }
}

/// What the ledger says of a lock that a living reader holds, and its place; a writer is 1.
const HELD_BY_READER: u32 = 2;

fn hold_reading(memory: &TestMemory<'_>) -> Outcome {
    let lock = <TestLock<'_> as Lock>::attach(memory, HOLDER)?;
    let guard = read(&lock, How::Try, &mut Observer::listed()).or_violation("holding")?;
    let held = HELD_BY_READER + forget_reader(guard) as u32;
    memory.ledger.held().set(held);
    Ok(())
}

fn release_held(memory: &TestMemory<'_>) -> Outcome {
    let Some(place) = memory.ledger.held().get().checked_sub(HELD_BY_READER) else {
        return release::<TestLock<'_>>(memory);
    };
    let lock = <TestLock<'_> as Lock>::attach(memory, HOLDER)?;
    let released = lock.release_read(place as usize);
    released.or_violation("releasing what was held")
}

/// One who writes or reads.
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
        pair.read(read_bytes(&locked.guard), locked.owner_died)?;
        unlock_read(lock, locked.guard, how)?;
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
