//! A mutex and a bakery mutex whose owners die inside.

use fastrand::Rng;
use shmem_sync::{BakeryMutex, Mutex};

use super::calls::{HOW, How, Lock, Numbers, hold_mutex, locked, release_mutex};
use super::counter_pair::{self, CounterPair};
use crate::kit::{
    Cast, Incarnation, Join, Layout, Observer, OrViolation, Outcome, Party, Role, Scenario, Scene,
    Seat, Step, boxed,
};

pub(super) const CASTS: &[Cast] = &[Cast::new(&[0, 0], &[0]), Cast::new(&[0, 0, 0], &[0])];

/// Holds a lock in a starting state, and releases it later.
pub(super) const HOLDER: Incarnation = Incarnation::first(6);

/// The starting state in which a mutex is held.
const HELD: u32 = 6;

pub(crate) const MUTEX: Scenario = Scenario {
    name: "mutex",
    about: "owners of a mutex die while they hold it, and also those that repair it",
    roles: &[locker(|seat| {
        boxed(Locker::<Mutex<'_, Numbers>>::join(seat))
    })],
    layout: |_| layout::<Mutex<'_, Numbers>>(),
    starts: |_| HELD + 1,
    release_held: |memory| release_mutex(memory, HOLDER),
    ..BAKERY
};

pub(crate) const BAKERY: Scenario = Scenario {
    name: "bakery",
    about: "owners of a bakery mutex, which needs only loads and stores, die while they hold it",
    roles: &[locker(|seat| {
        boxed(Locker::<BakeryMutex<'_, Numbers>>::join(seat))
    })],
    casts: CASTS,
    layout: |_| layout::<BakeryMutex<'_, Numbers>>(),
    // Only the holder can release it.
    starts: |_| HELD,
    prepare,
    ..Scenario::BASE
};

const fn locker(join: Join) -> Role {
    Role::shared("locker", &["lock", "try to lock"], join)
}

pub(super) fn layout<'m, L: Lock<'m>>() -> Layout {
    Layout::with_object(L::KIND, L::SEGMENT_LEN, counter_pair::ACCOUNT)
}

/// Lets parties use the lock, then one die while it holds it; or lets `HOLDER` hold it.
fn prepare(scene: &Scene<'_>, start: u32) -> Outcome {
    if start == HELD {
        hold_mutex(&scene.memory, HOLDER)?;
        scene.memory.ledger.held().set(1);
        return Ok(());
    }
    let mut rng = Rng::with_seed(start.into());
    for round in 0..start % 3 {
        let incarnation = Incarnation::first(5 + round as u8);
        scene.join(0, incarnation)?.perform(0, &mut rng)?;
    }
    if start >= 3 {
        scene.die(0, 0, u64::from(start) + 2)?;
    }
    Ok(())
}

/// A party that locks, changes the numbers and unlocks.
pub(super) struct Locker<'m, L> {
    pub(super) lock: L,
    pub(super) pair: CounterPair<'m>,
    pub(super) observer: Observer<'m>,
}

impl<'m, L: Lock<'m> + 'm> Locker<'m, L> {
    pub(super) fn join(seat: Seat<'m>) -> Outcome<Self> {
        Ok(Self {
            lock: L::attach(&seat.memory, seat.incarnation)?,
            pair: CounterPair::new(seat.memory, seat.incarnation),
            observer: seat.observer,
        })
    }

    /// Changes the numbers under the lock.
    pub(super) fn change(&mut self, how: How) -> Outcome<Step> {
        let result = self.lock.lock(how, &mut self.observer);
        let Some(locked) = locked(&self.pair.memory, result)? else {
            return Ok(Step::Idle);
        };
        let guard = self.pair.change(locked)?;
        self.pair.ensure_unread(&mut self.observer)?;
        guard.unlock().or_violation("unlocking")?;
        self.pair.acknowledge()?;
        Ok(Step::Done)
    }
}

impl<'m, L: Lock<'m> + 'm> Party for Locker<'m, L> {
    fn perform(&mut self, op: usize, _: &mut Rng) -> Outcome<Step> {
        self.change(HOW[op])
    }
}
