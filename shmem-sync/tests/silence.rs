//! A silent partition keeps what it holds: the others wait, and the error names it.
#![cfg(not(loom))]

use std::mem::forget;

use shmem_core::doorbell::NoDoorbell;
use shmem_core::mem::Heap;
use shmem_core::wait::Spin;
use shmem_core::Incarnation;
use shmem_sync::{
    AcquireError, AssumeAlive, BakeryMutex, Barrier, BarrierError, LockError, LockFailure,
    LockResult, Mutex, RwLock, Semaphore,
};

mod support;
use support::{attach_bakery, attach_barrier, Known};

const FIRST: Incarnation = Incarnation::first(1);
const SECOND: Incarnation = Incarnation::first(2);

const SILENT: Known<'_> = Known {
    silent: &[FIRST],
    gone: &[],
};
const GONE: Known<'_> = Known {
    silent: &[],
    gone: &[FIRST],
};

fn soon() -> Spin {
    Spin::checks(20)
}

fn names_the_first<G>(taken: LockResult<G>) -> bool {
    matches!(
        taken,
        Err(LockError::Failed(LockFailure::HolderSilent(FIRST)))
    )
}

fn is_busy<G>(taken: LockResult<G>) -> bool {
    matches!(taken, Err(LockError::Failed(LockFailure::Busy)))
}

fn is_late<G>(taken: LockResult<G>) -> bool {
    matches!(taken, Err(LockError::Failed(LockFailure::TimedOut)))
}

#[test]
fn a_silent_owner_keeps_the_mutex_and_is_named_at_the_deadline() {
    let heap = Heap::new(Mutex::<u64>::SEGMENT_LEN);
    let mutex =
        |incarnation| Mutex::<u64>::attach(heap.window(), incarnation, &NoDoorbell).unwrap();
    let (first, second) = (mutex(FIRST), mutex(SECOND));
    forget(first.try_lock(&mut AssumeAlive).unwrap());
    assert!(names_the_first(second.lock(&mut soon(), &mut { SILENT })));
    assert!(is_busy(second.try_lock(&mut { SILENT })));
    assert!(is_late(second.lock(&mut soon(), &mut AssumeAlive)));
    assert_eq!(second.owner(), Ok(Some(FIRST)));
    let taken = second.lock(&mut soon(), &mut { GONE });
    assert!(matches!(taken, Err(LockError::OwnerDied(_))));
    let error = LockFailure::HolderSilent(FIRST);
    assert_eq!(
        error.to_string(),
        "the deadline passed: incarnation 1 of partition 1 has the lock or is ahead in the queue, \
         and is silent"
    );
    assert_eq!(format!("{error:?}"), "HolderSilent(Incarnation(1.1))");
}

#[test]
fn a_silent_writer_keeps_the_lock_and_so_does_a_silent_reader() {
    let heap = Heap::new(RwLock::<u64>::SEGMENT_LEN);
    let lock =
        |incarnation| RwLock::<u64>::attach(heap.window(), incarnation, &NoDoorbell).unwrap();
    let (first, second) = (lock(FIRST), lock(SECOND));
    let writer = first.try_write(&mut AssumeAlive).unwrap();
    assert!(names_the_first(second.write(&mut soon(), &mut { SILENT })));
    assert!(names_the_first(second.read(&mut soon(), &mut { SILENT })));
    assert!(is_busy(second.try_read(&mut { SILENT })));
    writer.unlock().unwrap();

    let reader = first.try_read(&mut AssumeAlive).unwrap();
    assert!(second.try_read(&mut { SILENT }).is_ok());
    assert!(names_the_first(second.write(&mut soon(), &mut { SILENT })));
    assert!(is_busy(second.try_write(&mut { SILENT })));
    reader.unlock().unwrap();
    assert!(second.try_write(&mut { SILENT }).is_ok());
}

#[test]
fn a_silent_partition_keeps_its_place_in_the_queue_of_a_bakery() {
    let heap = Heap::new(BakeryMutex::<u64>::SEGMENT_LEN);
    let bakery = |incarnation| attach_bakery::<u64>(heap.window(), incarnation, 4);
    let (mut first, mut second) = (bakery(FIRST), bakery(SECOND));
    let guard = first.try_lock(&mut AssumeAlive).unwrap();
    assert!(names_the_first(second.lock(&mut soon(), &mut { SILENT })));
    assert!(is_busy(second.try_lock(&mut { SILENT })));
    assert!(is_late(second.lock(&mut soon(), &mut AssumeAlive)));
    guard.unlock().unwrap();
    assert!(second.lock(&mut soon(), &mut { SILENT }).is_ok());
}

#[test]
fn others_continue_with_the_permits_that_no_silent_partition_holds() {
    let heap = Heap::new(Semaphore::segment_len(2));
    let semaphore =
        |incarnation| Semaphore::attach(heap.window(), incarnation, &NoDoorbell).unwrap();
    let (first, second) = (semaphore(FIRST), semaphore(SECOND));
    first.add(2).unwrap();
    let held = first.try_acquire(&mut AssumeAlive).unwrap();
    let permit = second.acquire(&mut soon(), &mut { SILENT }).unwrap();
    let refused = |known: &mut Known<'_>| second.acquire(&mut soon(), known).err();
    assert_eq!(
        refused(&mut { SILENT }),
        Some(AcquireError::HolderSilent(FIRST))
    );
    assert_eq!(
        refused(&mut { Known::NOTHING }),
        Some(AcquireError::TimedOut)
    );
    let refused = second.try_acquire(&mut { SILENT }).err();
    assert_eq!(refused, Some(AcquireError::Busy));
    held.release().unwrap();
    permit.release().unwrap();
    assert_eq!(second.available(), 2);
}

#[test]
fn a_silent_party_is_waited_for_and_named_at_the_deadline() {
    let heap = Heap::new(Barrier::segment_len(2));
    let barrier = |incarnation| attach_barrier(heap.window(), incarnation, 2, &NoDoorbell);
    let (mut first, mut second) = (barrier(FIRST), barrier(SECOND));
    assert_eq!(first.try_wait(&mut AssumeAlive), Ok(None));
    assert_eq!(second.wait(&mut soon(), &mut { SILENT }).unwrap().phase, 1);
    let late = second.wait(&mut soon(), &mut { SILENT });
    assert_eq!(late, Err(BarrierError::PartySilent(FIRST)));
    assert_eq!(second.try_wait(&mut { SILENT }), Ok(None));
    let late = second.wait(&mut soon(), &mut { GONE });
    assert_eq!(late, Err(BarrierError::PartyDied(FIRST)));
    assert_eq!(first.try_wait(&mut AssumeAlive).unwrap().unwrap().phase, 1);
    assert_eq!(first.try_wait(&mut AssumeAlive).unwrap().unwrap().phase, 2);
    assert_eq!(second.wait(&mut soon(), &mut { SILENT }).unwrap().phase, 2);
}
