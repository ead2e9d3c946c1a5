//! The mutex when partitions die, or are treated as gone while they run.

use std::mem::forget;

use shmem_core::mem::Heap;
use shmem_core::wait::{Spin, Wait};
use shmem_core::Incarnation;
use shmem_sync::{
    health, Acquired, AssumeAlive, Futex, LockError, LockFailure, NotHeld, SpinYield,
};

use crate::support::{repair_bakery, unlock_bakery, Dead};
use crate::{die_with, heap, is_busy, mutex, put, raw, ticket, ticket_at, word, Meanwhile};
use crate::{COLOUR, DRAWING, FIRST, HEALTH, HOLDER, SECOND, THIRD};

/// `incarnation` enters and dies inside.
fn die_inside(heap: &Heap, incarnation: Incarnation) {
    forget(mutex(heap, incarnation).try_lock(&mut AssumeAlive).unwrap());
}

#[test]
fn the_next_owner_is_warned_of_a_death_and_repairs() {
    let heap = heap();
    die_inside(&heap, FIRST);
    let mut mutex = mutex(&heap, SECOND);
    assert!(is_busy(&mut mutex, &mut AssumeAlive));
    let Err(LockError::OwnerDied(mut guard)) = mutex.try_lock(&mut Dead(&[FIRST])) else {
        panic!("no warning of the death");
    };
    assert_eq!(word(&heap, HEALTH), SECOND.word());
    guard.make_consistent();
    guard.unlock().unwrap();
    assert!(mutex.try_lock(&mut Dead(&[FIRST])).is_ok());
}

#[test]
fn a_waiter_is_warned_of_a_death() {
    fn warned(wait: &mut impl Wait) -> bool {
        let heap = heap();
        die_inside(&heap, FIRST);
        let mut second = mutex(&heap, SECOND);
        let taken = second.lock(wait, &mut Dead(&[FIRST]));
        matches!(taken, Err(LockError::OwnerDied(_)))
    }
    assert!(warned(&mut Spin::forever()));
    assert!(warned(&mut SpinYield::forever()));
    assert!(warned(&mut Futex::forever()));
    assert!(warned(&mut Meanwhile(|| false)));
}

#[test]
fn a_mutex_that_is_unlocked_without_repair_is_poisoned_permanently() {
    let heap = heap();
    die_inside(&heap, FIRST);
    let mut mutex = mutex(&heap, SECOND);
    drop(mutex.try_lock(&mut Dead(&[FIRST])));
    for _ in 0..2 {
        assert_eq!(word(&heap, HEALTH), health::POISONED);
        let taken = mutex.try_lock(&mut Dead(&[FIRST]));
        assert!(matches!(
            taken,
            Err(LockError::Failed(LockFailure::Poisoned))
        ));
        assert_eq!((word(&heap, HOLDER), word(&heap, ticket_at(2))), (0, 0));
        // Another death does not change that.
        put(&heap, HOLDER, FIRST.word());
    }
}

#[test]
fn a_mutex_is_repaired_and_unlocked_without_a_guard() {
    for (repair, left) in [(true, health::WHOLE), (false, health::POISONED)] {
        let heap = heap();
        let mut mutex = raw(&heap, SECOND);
        die_inside(&heap, FIRST);
        let taken = mutex.try_lock(&mut Dead(&[FIRST]));
        assert_eq!(taken, Ok(Acquired::OwnerDied));
        if repair {
            repair_bakery(&mut mutex).unwrap();
        }
        unlock_bakery(&mut mutex).unwrap();
        assert_eq!((mutex.owner(), word(&heap, HEALTH)), (Ok(None), left));
    }
}

#[test]
fn a_ticket_of_a_dead_partition_is_passed_over_without_a_warning() {
    // While drawing; while waiting before us, in either colour; while leaving, before and after the
    // colour changes.
    for (left, colour) in [
        (DRAWING, 0),
        (ticket(1, 0), 0),
        (ticket(1, 1), 0),
        (ticket(1, 0), 1),
        (ticket(7, 1), 1),
    ] {
        let heap = heap();
        put(&heap, COLOUR, colour);
        die_with(&heap, FIRST, left);
        let mut second = mutex(&heap, SECOND);
        let taken = second.lock(&mut Spin::checks(20), &mut Dead(&[FIRST]));
        assert!(taken.is_ok(), "ticket {left:#x}");
    }
}

#[test]
fn a_partition_that_dies_while_it_takes_over_leaves_the_repair_to_the_next() {
    // After *suspect* was stored, with the first owner's incarnation still in `holder`; and with
    // its own.
    for holder in [FIRST, SECOND] {
        let heap = heap();
        die_inside(&heap, FIRST);
        die_with(&heap, SECOND, ticket(2, 0));
        put(&heap, HEALTH, SECOND.word());
        put(&heap, HOLDER, holder.word());
        let mut third = mutex(&heap, THIRD);
        let taken = third.try_lock(&mut Dead(&[FIRST, SECOND]));
        let Err(LockError::OwnerDied(mut guard)) = taken else {
            panic!("no warning of a death");
        };
        guard.make_consistent();
        guard.unlock().unwrap();
        assert_eq!(word(&heap, HEALTH), health::WHOLE);
    }
}

#[test]
fn an_evicted_owner_gets_an_error_and_changes_only_its_ticket() {
    let heap = heap();
    let (mut ours, mut theirs) = (mutex(&heap, FIRST), mutex(&heap, SECOND));
    let mut evicted = ours.try_lock(&mut AssumeAlive).unwrap();
    let Err(LockError::OwnerDied(guard)) = theirs.try_lock(&mut Dead(&[FIRST])) else {
        panic!("no warning of the death");
    };
    evicted.make_consistent();
    let not_held = NotHeld {
        holder: Some(SECOND),
    };
    assert_eq!(evicted.unlock(), Err(not_held));
    assert_eq!(word(&heap, HEALTH), SECOND.word());
    assert_eq!(word(&heap, HOLDER), SECOND.word());
    assert_eq!((word(&heap, COLOUR), word(&heap, ticket_at(1))), (0, 0));
    drop(guard);
}

#[test]
fn a_later_incarnation_removes_the_ticket_that_others_wait_for() {
    let heap = heap();
    die_inside(&heap, FIRST);
    let mut second = mutex(&heap, SECOND);
    let mut later = None;
    let mut meanwhile = Meanwhile(|| {
        assert!(later.is_none(), "the ticket is still waited for");
        later = Some(mutex(&heap, Incarnation::new(1, 2).unwrap()));
        true
    });
    // `Liveness` does not report the first one as gone, but `holder` shows it.
    let taken = second.lock(&mut meanwhile, &mut AssumeAlive);
    assert!(matches!(taken, Err(LockError::OwnerDied(_))));
    drop(taken);
}

#[test]
fn an_earlier_incarnation_of_our_partition_is_gone_whatever_is_reported() {
    let heap = heap();
    die_inside(&heap, FIRST);
    let mut later = mutex(&heap, Incarnation::new(1, 2).unwrap());
    let taken = later.try_lock(&mut AssumeAlive);
    assert!(matches!(taken, Err(LockError::OwnerDied(_))));
}
