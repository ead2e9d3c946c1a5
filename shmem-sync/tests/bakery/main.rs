//! What a bakery mutex guarantees to owners and waiters.
#![cfg(all(feature = "linux", target_os = "linux"))]

use std::mem::forget;

use shmem_core::mem::Heap;
use shmem_core::primitive::AtomicU32;
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::wait::{Pause, Spin, Wait};
use shmem_core::{ControlWord, Corrupt, Incarnation};
use shmem_sync::raw::RawBakeryMutex;
use shmem_sync::{
    Acquired, AssumeAlive, AttachError, BakeryMutex, Liveness, LockError, LockFailure, NotHeld,
};

mod deaths;
mod states;
#[path = "../support/mod.rs"]
mod support;
mod threads;

use support::{attach_bakery, attach_raw_bakery, repair_bakery, unlock_bakery, Dead};

const FIRST: Incarnation = Incarnation::first(1);
const SECOND: Incarnation = Incarnation::first(2);
const THIRD: Incarnation = Incarnation::first(3);

/// The offsets of the control words.
const HOLDER: usize = 0;
const HEALTH: usize = 4;
const COLOUR: usize = 8;
/// The largest number of a ticket.
const LAST: u32 = (1 << 30) - 1;
const DRAWING: u32 = 1;

fn heap() -> Heap {
    Heap::new(BakeryMutex::<u64>::SEGMENT_LEN)
}

fn mutex(heap: &Heap, incarnation: Incarnation) -> BakeryMutex<'_, u64> {
    attach_bakery::<u64>(heap.window(), incarnation, 4)
}

/// Returns a handle without guards.
fn raw(heap: &Heap, incarnation: Incarnation) -> RawBakeryMutex<'_> {
    attach_raw_bakery(heap.window(), incarnation, 4)
}

fn word(heap: &Heap, offset: usize) -> u32 {
    heap.window().word(offset).load(Relaxed)
}

fn put(heap: &Heap, offset: usize, value: u32) {
    heap.window().word(offset).store(value, Relaxed);
}

/// Returns the offset of a partition's ticket; its incarnation is in the word before.
fn ticket_at(partition: u8) -> usize {
    128 + 8 * (usize::from(partition) - 1) + 4
}

/// Returns a ticket word.
fn ticket(number: u32, colour: u32) -> u32 {
    number << 2 | colour << 1
}

/// `incarnation` draws `ticket` and dies.
fn die_with(heap: &Heap, incarnation: Incarnation, ticket: u32) {
    put(
        heap,
        ticket_at(incarnation.partition()) - 4,
        incarnation.word(),
    );
    put(heap, ticket_at(incarnation.partition()), ticket);
}

/// Calls a function at each pause, and times out when that returns false.
struct Meanwhile<F>(F);

impl<F: FnMut() -> bool> Wait for Meanwhile<F> {
    fn pause(&mut self) -> Pause {
        match (self.0)() {
            true => Pause::Again,
            false => Pause::TimedOut,
        }
    }

    fn sleep(&mut self, _: &AtomicU32, _: u32) {}
}

fn is_busy(mutex: &mut BakeryMutex<'_, u64>, liveness: &mut impl Liveness) -> bool {
    matches!(
        mutex.try_lock(liveness),
        Err(LockError::Failed(LockFailure::Busy))
    )
}

fn times_out(mutex: &mut BakeryMutex<'_, u64>, wait: &mut impl Wait) -> bool {
    matches!(
        mutex.lock(wait, &mut AssumeAlive),
        Err(LockError::Failed(LockFailure::TimedOut))
    )
}

#[test]
fn a_zeroed_segment_is_a_free_mutex() {
    let heap = heap();
    let mut mutex = attach_bakery::<u64>(heap.window(), FIRST, 64);
    assert_eq!(mutex.owner(), Ok(None));
    let mut guard = mutex.try_lock(&mut AssumeAlive).unwrap();
    assert_eq!(word(&heap, HOLDER), FIRST.word());
    assert_eq!(guard.get(), 0);
    guard.set(7);
    guard.unlock().unwrap();
    assert_eq!(mutex.owner(), Ok(None));
}

#[test]
fn a_partition_with_too_large_a_number_cannot_attach() {
    let heap = heap();
    let attach = |partition, partitions| {
        let incarnation = Incarnation::first(partition);
        // SAFETY: none is used.
        unsafe { BakeryMutex::<u64>::attach(heap.window(), incarnation, partitions) }.map(|_| ())
    };
    let no_room = |partition, limit| Err(AttachError::Partition { partition, limit });
    assert_eq!(attach(64, 64), Ok(()));
    assert_eq!(attach(65, 64), no_room(65, 64));
    assert_eq!(attach(65, 255), no_room(65, 64));
    assert_eq!(attach(3, 2), no_room(3, 2));
}

#[test]
fn an_evicted_incarnation_does_not_attach_again() {
    let heap = heap();
    let successor = Incarnation::new(1, 2).unwrap();
    let mut inside = attach_bakery::<u64>(heap.window(), successor, 64);
    let guard = inside.try_lock(&mut AssumeAlive).unwrap();
    // SAFETY: none is used.
    let late = unsafe { BakeryMutex::<u64>::attach(heap.window(), FIRST, 64) }.map(|_| ());
    assert_eq!(late, Err(AttachError::Evicted));
    assert!(is_busy(&mut mutex(&heap, SECOND), &mut AssumeAlive));
    guard.unlock().unwrap();
}

#[test]
fn a_mutex_is_busy_until_its_guard_is_dropped() {
    let heap = heap();
    let (mut ours, mut theirs) = (mutex(&heap, FIRST), mutex(&heap, SECOND));
    let guard = ours.try_lock(&mut AssumeAlive).unwrap();
    for _ in 0..2 {
        assert!(is_busy(&mut theirs, &mut AssumeAlive));
        assert_eq!(word(&heap, ticket_at(2)), 0);
    }
    drop(guard);
    assert!(theirs.try_lock(&mut AssumeAlive).is_ok());
}

#[test]
fn a_wait_with_a_passed_deadline_gets_only_a_free_mutex() {
    let heap = heap();
    let (mut ours, mut theirs) = (mutex(&heap, FIRST), mutex(&heap, SECOND));
    let past = || Meanwhile(|| false);
    let guard = ours.lock(&mut past(), &mut AssumeAlive).unwrap();
    assert!(times_out(&mut theirs, &mut past()));
    assert!(times_out(&mut theirs, &mut Spin::checks(100)));
    assert_eq!(word(&heap, ticket_at(2)), 0);
    guard.unlock().unwrap();
}

#[test]
fn the_first_partition_to_draw_is_served_first() {
    let heap = heap();
    let mut first = raw(&heap, FIRST);
    let [mut second, mut third] = [SECOND, THIRD].map(|incarnation| mutex(&heap, incarnation));
    assert_eq!(first.try_lock(&mut AssumeAlive), Ok(Acquired::Clean));
    let mut steps = 0;
    let mut meanwhile = Meanwhile(|| {
        steps += 1;
        assert!(times_out(&mut third, &mut Spin::checks(10)));
        match steps {
            // The partition that was inside comes after those that waited.
            2 => {
                unlock_bakery(&mut first).unwrap();
                let late = first.lock(&mut Spin::checks(10), &mut AssumeAlive);
                assert_eq!(late, Err(LockFailure::TimedOut));
                assert_eq!(first.try_lock(&mut AssumeAlive), Err(LockFailure::Busy));
            }
            3 => panic!("not served although the mutex is free"),
            _ => {}
        }
        true
    });
    assert!(second.lock(&mut meanwhile, &mut AssumeAlive).is_ok());
    assert!(third.try_lock(&mut AssumeAlive).is_ok());
}

#[test]
fn a_partition_that_forgot_its_guard_waits_for_itself() {
    let heap = heap();
    let mut mutex = mutex(&heap, FIRST);
    forget(mutex.try_lock(&mut AssumeAlive).unwrap());
    // It is alive, whatever `Liveness` reports.
    assert!(is_busy(&mut mutex, &mut Dead(&[FIRST])));
    assert!(times_out(&mut mutex, &mut Spin::checks(100)));
    assert_eq!(mutex.owner(), Ok(Some(FIRST)));
}

#[test]
fn a_partition_that_does_not_hold_it_cannot_unlock_it() {
    let heap = heap();
    let (mut ours, mut theirs) = (mutex(&heap, FIRST), raw(&heap, SECOND));
    assert_eq!(unlock_bakery(&mut theirs), Err(NotHeld { holder: None }));
    let guard = ours.try_lock(&mut AssumeAlive).unwrap();
    let not_held = NotHeld {
        holder: Some(FIRST),
    };
    assert_eq!(unlock_bakery(&mut theirs), Err(not_held));
    assert_eq!(repair_bakery(&mut theirs), Err(not_held));
    assert_eq!(word(&heap, HOLDER), FIRST.word());
    guard.unlock().unwrap();
}

#[test]
fn a_live_partition_is_waited_for_while_it_draws_or_is_before_us() {
    for (left, colour, waits) in [
        (DRAWING, 0, true),
        (ticket(1, 0), 0, true),
        // A ticket of the other colour, and one of the current colour.
        (ticket(1, 1), 0, true),
        (ticket(1, 0), 1, true),
        (0, 1, false),
    ] {
        let heap = heap();
        put(&heap, COLOUR, colour);
        die_with(&heap, FIRST, left);
        let mut second = mutex(&heap, SECOND);
        let taken = second.lock(&mut Spin::checks(20), &mut AssumeAlive);
        assert_eq!(taken.is_err(), waits, "ticket {left:#x}");
    }
}

#[test]
fn after_the_last_number_no_partition_draws_until_that_ticket_is_gone() {
    let heap = heap();
    die_with(&heap, FIRST, ticket(LAST, 0));
    let mut second = mutex(&heap, SECOND);
    assert!(is_busy(&mut second, &mut AssumeAlive));
    let mut steps = 0;
    let mut meanwhile = Meanwhile(|| {
        assert_eq!(word(&heap, ticket_at(2)), 0);
        steps += 1;
        steps < 5
    });
    assert!(times_out(&mut second, &mut meanwhile));
    assert!(second.try_lock(&mut Dead(&[FIRST])).is_ok());
    // The colour is black now, so the white ticket goes first.
    assert!(is_busy(&mut second, &mut AssumeAlive));
    put(&heap, ticket_at(1), 0);
    assert!(second.try_lock(&mut AssumeAlive).is_ok());
}

#[test]
fn a_word_that_no_honest_partition_writes_is_corrupt() {
    let not_theirs = Incarnation::first(9).word();
    let flagged = SECOND.word() | Incarnation::FLAG;
    for (offset, value, word_is) in [
        (HOLDER, 2, ControlWord::BakeryHolder),
        (HOLDER, Incarnation::FLAG, ControlWord::BakeryHolder),
        (HOLDER, flagged, ControlWord::BakeryHolder),
        (
            HOLDER,
            Incarnation::first(65).word(),
            ControlWord::BakeryHolder,
        ),
        (COLOUR, 2, ControlWord::BakeryColour),
        (ticket_at(2), 2, ControlWord::BakeryTicket),
        (ticket_at(2), 3, ControlWord::BakeryTicket),
        (ticket_at(2) - 4, flagged, ControlWord::BakeryIncarnation),
        (HEALTH, 1, ControlWord::BakeryHealth),
        (HEALTH, flagged, ControlWord::BakeryHealth),
        (HEALTH, 3, ControlWord::BakeryHealth),
        (ticket_at(2) - 4, not_theirs, ControlWord::BakeryIncarnation),
        (ticket_at(2) - 4, 2, ControlWord::BakeryIncarnation),
    ] {
        let heap = heap();
        let mut mutex = mutex(&heap, FIRST);
        put(&heap, ticket_at(2), DRAWING * u32::from(offset >= 128));
        put(&heap, offset, value);
        let taken = mutex.lock(&mut Spin::forever(), &mut AssumeAlive);
        let Err(LockError::Failed(LockFailure::Corrupt(corrupt))) = taken else {
            panic!("{word_is} of {value} passes");
        };
        let word = word_is;
        assert_eq!(corrupt, Corrupt { word, value });
        assert_eq!(heap.window().word(ticket_at(1)).load(Relaxed), 0);
    }
}

#[test]
fn a_call_with_a_deadline_ends_whatever_the_words_contain() {
    let heap = heap();
    let mut mutex = raw(&heap, FIRST);
    let values = [
        0,
        1,
        2,
        3,
        4,
        7,
        u32::MAX,
        u32::MAX - 1,
        u32::MAX - 3,
        SECOND.word(),
    ];
    for value in values {
        for other in values {
            for offset in [HOLDER, HEALTH, COLOUR, ticket_at(2) - 4, ticket_at(2)] {
                put(&heap, ticket_at(2), other);
                put(&heap, offset, value);
                let _ = mutex.owner();
                let _ = mutex.try_lock(&mut AssumeAlive);
                let _ = mutex.lock(&mut Spin::checks(20), &mut Dead(&[SECOND]));
                let _ = unlock_bakery(&mut mutex);
            }
        }
    }
}
