//! What the partitions that attach to a lock agree on, and what they reach through a guard.
#![cfg(not(loom))]

use shmem_core::doorbell::NoDoorbell;
use shmem_core::mem::Heap;
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::wait::Spin;
use shmem_core::{Incarnation, Window};
use shmem_sync::inspect::{BakeryWords, MutexWords, RwLockWords};
use shmem_sync::raw::{RawBakeryMutex, RawMutex, RawRwLock};
use shmem_sync::{
    AssumeAlive, AttachError, BakeryMutex, LockError, LockFailure, Mutex, Protected, RwLock,
    Semaphore, Shape,
};

mod support;
use support::{attach_bakery, attach_raw_bakery};

const FIRST: Incarnation = Incarnation::first(1);
const SECOND: Incarnation = Incarnation::first(2);

/// Attaches to each of the three locks, which protect a `T`.
fn attach<T: Protected + ?Sized>(
    heaps: &[Heap; 3],
    incarnation: Incarnation,
) -> [Result<(), AttachError>; 3] {
    let [mutex, rwlock, bakery] = windows(heaps);
    // SAFETY: none is used.
    let bakery = unsafe { BakeryMutex::<T>::attach(bakery, incarnation, 4) };
    [
        Mutex::<T>::attach(mutex, incarnation, &NoDoorbell).map(drop),
        RwLock::<T>::attach(rwlock, incarnation, &NoDoorbell).map(drop),
        bakery.map(drop),
    ]
}

/// Returns zeroed segments for each, with this number of protected bytes.
fn heaps(data: usize) -> [Heap; 3] {
    [
        RawMutex::segment_len(data),
        RawRwLock::segment_len(data),
        RawBakeryMutex::segment_len(data),
    ]
    .map(Heap::new)
}

fn windows([mutex, rwlock, bakery]: &[Heap; 3]) -> [Window<'_>; 3] {
    [mutex.window(), rwlock.window(), bakery.window()]
}

/// Returns what each protects, as inspection shows it.
fn protects([mutex, rwlock, bakery]: &[Heap; 3]) -> [Option<Shape>; 3] {
    [
        MutexWords::attach(mutex.window()).unwrap().protects(),
        RwLockWords::attach(rwlock.window()).unwrap().protects(),
        BakeryWords::attach(bakery.window()).unwrap().protects(),
    ]
}

#[test]
fn attaching_to_a_segment_of_another_length_reports_both_lengths() {
    let heaps = heaps(16);
    let lengths = windows(&heaps).map(|window| window.len());
    for (refused, segment) in attach::<u64>(&heaps, FIRST).into_iter().zip(lengths) {
        let needed = segment - 8;
        assert_eq!(refused, Err(AttachError::Length { segment, needed }));
    }
    let error = AttachError::Length {
        segment: 144,
        needed: 136,
    };
    let text = "the segment has 144 bytes, and the lock needs 136";
    assert_eq!(error.to_string(), text);
}

#[test]
fn attaching_to_a_segment_shorter_than_a_lock_fails() {
    let short = Heap::new(120);
    let (segment, needed) = (120, 128);
    let refused = Some(AttachError::Length { segment, needed });
    let mutex = RawMutex::attach(short.window(), FIRST, &NoDoorbell);
    assert_eq!(mutex.err(), refused);
    let mutex = Mutex::<[u8]>::attach(short.window(), FIRST, &NoDoorbell);
    assert_eq!(mutex.err(), refused);
    let needed = Semaphore::segment_len(1);
    let semaphore = Semaphore::attach(short.window(), FIRST, &NoDoorbell);
    let refused = Some(AttachError::Length { segment, needed });
    assert_eq!(semaphore.err(), refused);
}

#[test]
fn attaching_with_another_type_fails_even_if_the_segment_fits() {
    let heaps = heaps(16);
    assert_eq!(attach::<[u8; 13]>(&heaps, FIRST), [Ok(()); 3]);
    assert_eq!(attach::<[u8; 13]>(&heaps, SECOND), [Ok(()); 3]);
    let found = Shape::new::<[u8; 13]>();
    assert_eq!(protects(&heaps), [Some(found); 3]);
    let refused = |ours| [Err(AttachError::Shape { found, ours }); 3];
    for incarnation in [FIRST, SECOND, Incarnation::first(3)] {
        let longer = attach::<[u8; 16]>(&heaps, incarnation);
        assert_eq!(longer, refused(Shape::new::<[u8; 16]>()));
        let aligned = attach::<[u64; 2]>(&heaps, incarnation);
        assert_eq!(aligned, refused(Shape::new::<[u64; 2]>()));
    }
    assert_eq!(protects(&heaps), [Some(found); 3]);
    let error = refused(Shape::new::<[u64; 2]>())[0].unwrap_err();
    let text =
        "the lock protects a value of 13 bytes aligned to 1, not one of 16 bytes aligned to 4";
    assert_eq!(error.to_string(), text);
}

#[test]
fn bytes_and_raw_locks_declare_no_shape_and_accept_any() {
    let heaps = heaps(16);
    assert_eq!(attach::<[u8]>(&heaps, FIRST), [Ok(()); 3]);
    let [mutex, rwlock, bakery] = windows(&heaps);
    assert!(RawMutex::attach(mutex, FIRST, &NoDoorbell).is_ok());
    assert!(RawRwLock::attach(rwlock, FIRST, &NoDoorbell).is_ok());
    attach_raw_bakery(bakery, FIRST, 4);
    assert_eq!(protects(&heaps), [None; 3]);
    assert_eq!(attach::<u128>(&heaps, SECOND), [Ok(()); 3]);
    assert_eq!(attach::<[u8]>(&heaps, FIRST), [Ok(()); 3]);
}

#[test]
fn a_failed_attach_to_a_bakery_removes_no_ticket() {
    let heap = Heap::new(BakeryMutex::<u64>::SEGMENT_LEN);
    let mut ours = attach_bakery::<u64>(heap.window(), FIRST, 4);
    let guard = ours.try_lock(&mut AssumeAlive).unwrap();
    let later = Incarnation::new(1, 2).unwrap();
    // SAFETY: none is used.
    let refused = unsafe { BakeryMutex::<[u8; 8]>::attach(heap.window(), later, 4) };
    assert!(refused.is_err());
    guard.unlock().unwrap();
}

#[test]
fn handles_of_one_incarnation_exclude_each_other() {
    let heap = Heap::new(Mutex::<u64>::SEGMENT_LEN);
    let [one, two] =
        [(); 2].map(|()| Mutex::<u64>::attach(heap.window(), FIRST, &NoDoorbell).unwrap());
    let mut guard = one.try_lock(&mut AssumeAlive).unwrap();
    assert!(is_busy(two.try_lock(&mut AssumeAlive).err()));
    guard.set(1);
    drop(guard);
    assert_eq!(two.try_lock(&mut AssumeAlive).unwrap().get(), 1);

    let heap = Heap::new(RwLock::<u64>::SEGMENT_LEN);
    let attach = || RwLock::<u64>::attach(heap.window(), FIRST, &NoDoorbell).unwrap();
    let (one, two) = (attach(), attach());
    let guard = one.try_write(&mut AssumeAlive).unwrap();
    assert!(is_busy(two.try_write(&mut AssumeAlive).err()));
    assert!(is_busy(two.try_read(&mut AssumeAlive).err()));
    drop(guard);
    let guards = [&one, &two].map(|lock| lock.try_read(&mut AssumeAlive).unwrap());
    assert!(is_busy(two.try_write(&mut AssumeAlive).err()));
    drop(guards);

    let heap = Heap::new(Semaphore::segment_len(2));
    let [one, two] =
        [(); 2].map(|()| Semaphore::attach(heap.window(), FIRST, &NoDoorbell).unwrap());
    one.add(2).unwrap();
    let permits = [&one, &two].map(|semaphore| semaphore.try_acquire(&mut AssumeAlive).unwrap());
    assert!(one.try_acquire(&mut AssumeAlive).is_err());
    drop(permits);
    assert_eq!((two.available(), two.permits()), (2, 2));
}

fn is_busy<G>(refused: Option<LockError<G>>) -> bool {
    matches!(refused, Some(LockError::Failed(LockFailure::Busy)))
}

#[test]
fn a_guard_reads_and_writes_the_value_and_its_bytes() {
    let heap = Heap::new(Mutex::<[u32; 3]>::SEGMENT_LEN);
    let mutex = Mutex::attach(heap.window(), FIRST, &NoDoorbell).unwrap();
    let mut guard = mutex.try_lock(&mut AssumeAlive).unwrap();
    assert_eq!(guard.get(), [0_u32; 3]);
    guard.set([1, 2, 3]);
    let sum = guard.update(|numbers| {
        numbers[0] = 7;
        numbers.iter().sum::<u32>()
    });
    assert_eq!((sum, guard.get()), (12, [7, 2, 3]));
    assert_eq!(guard.window().len(), 16);
    guard.window().write(4, &9_u32.to_ne_bytes());
    assert_eq!(guard.get(), [7, 9, 3]);
    assert_eq!(heap.window().word(128).load(Relaxed), 7);
}

#[test]
fn bytes_of_any_length_are_reached_through_windows() {
    let heap = Heap::new(RawRwLock::segment_len(20));
    let lock = RwLock::<[u8]>::attach(heap.window(), FIRST, &NoDoorbell).unwrap();
    let mut guard = lock.write(&mut Spin::forever(), &mut AssumeAlive).unwrap();
    assert_eq!(guard.window().len(), 24);
    guard.window().write(16, b"together");
    guard.unlock().unwrap();
    let guard = lock.read(&mut Spin::forever(), &mut AssumeAlive).unwrap();
    let mut bytes = [0; 8];
    guard.window().read(16, &mut bytes);
    assert_eq!(&bytes, b"together");
    guard.unlock().unwrap();
}
