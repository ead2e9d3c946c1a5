//! What becomes of the mutex when partitions die, or are taken for dead.

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

/// `incarnation` goes in and dies there.
fn die_inside(heap: &Heap, incarnation: Incarnation) {
    forget(mutex(heap, incarnation).try_lock(&mut AssumeAlive).unwrap());
}

#[test]
fn the_next_owner_learns_that_the_last_one_died_and_makes_it_good() {
    let heap = heap();
    die_inside(&heap, FIRST);
    let mut mutex = mutex(&heap, SECOND);
    assert!(is_busy(&mut mutex, &mut AssumeAlive));
    let Err(LockError::OwnerDied(mut guard)) = mutex.try_lock(&mut Dead(&[FIRST])) else {
        panic!("no word of the death");
    };
    assert_eq!(word(&heap, HEALTH), SECOND.word());
    guard.make_consistent();
    guard.unlock().unwrap();
    assert!(mutex.try_lock(&mut Dead(&[FIRST])).is_ok());
}

#[test]
fn one_who_waits_learns_of_the_death_as_well() {
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
fn a_mutex_that_is_given_back_unrepaired_is_poisoned_for_good() {
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
        // Nor does one more death change it.
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
fn a_ticket_of_the_dead_is_passed_over_without_a_warning() {
    // Drawing; waiting in front, in either colour; leaving, before the colour
    // changes and behind.
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
fn one_who_dies_while_it_takes_over_or_repairs_leaves_that_to_the_next() {
    // Behind *suspect*, with the first one's incarnation still in `holder`; and with its own.
    for holder in [FIRST, SECOND] {
        let heap = heap();
        die_inside(&heap, FIRST);
        die_with(&heap, SECOND, ticket(2, 0));
        put(&heap, HEALTH, SECOND.word());
        put(&heap, HOLDER, holder.word());
        let mut third = mutex(&heap, THIRD);
        let taken = third.try_lock(&mut Dead(&[FIRST, SECOND]));
        let Err(LockError::OwnerDied(mut guard)) = taken else {
            panic!("no word of a death");
        };
        guard.make_consistent();
        guard.unlock().unwrap();
        assert_eq!(word(&heap, HEALTH), health::WHOLE);
    }
}

#[test]
fn one_who_was_taken_for_dead_learns_it_and_changes_nothing_but_its_ticket() {
    let heap = heap();
    let (mut ours, mut theirs) = (mutex(&heap, FIRST), mutex(&heap, SECOND));
    let mut robbed = ours.try_lock(&mut AssumeAlive).unwrap();
    let Err(LockError::OwnerDied(guard)) = theirs.try_lock(&mut Dead(&[FIRST])) else {
        panic!("it was not robbed");
    };
    robbed.make_consistent();
    let not_held = NotHeld {
        holder: Some(SECOND),
    };
    assert_eq!(robbed.unlock(), Err(not_held));
    assert_eq!(word(&heap, HEALTH), SECOND.word());
    assert_eq!(word(&heap, HOLDER), SECOND.word());
    assert_eq!((word(&heap, COLOUR), word(&heap, ticket_at(1))), (0, 0));
    drop(guard);
}

#[test]
fn a_later_incarnation_takes_away_the_ticket_that_others_wait_for() {
    let heap = heap();
    die_inside(&heap, FIRST);
    let mut second = mutex(&heap, SECOND);
    let mut later = None;
    let mut meanwhile = Meanwhile(|| {
        assert!(later.is_none(), "the ticket is still waited for");
        later = Some(mutex(&heap, Incarnation::new(1, 2).unwrap()));
        true
    });
    // Nobody says that the first one is dead, but `holder` does.
    let taken = second.lock(&mut meanwhile, &mut AssumeAlive);
    assert!(matches!(taken, Err(LockError::OwnerDied(_))));
    drop(taken);
}

#[test]
fn an_earlier_incarnation_of_our_own_is_dead_whatever_is_said() {
    let heap = heap();
    die_inside(&heap, FIRST);
    let mut later = mutex(&heap, Incarnation::new(1, 2).unwrap());
    let taken = later.try_lock(&mut AssumeAlive);
    assert!(matches!(taken, Err(LockError::OwnerDied(_))));
}
