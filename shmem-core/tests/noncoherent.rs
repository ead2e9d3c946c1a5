//! Two partitions, each behind a data cache that nothing keeps coherent.
//!
//! A partition works on memory of its own, its cache; cleaning and invalidating copy
//! whole lines to and from the memory that both share. What gets across got across
//! by them.
#![cfg(all(feature = "noncoherent", feature = "alloc", not(loom)))]

use std::ffi::c_void;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::OnceLock;
use std::thread;

use shmem_core::cache::{maintain, Maintenance};
use shmem_core::mem::Heap;
use shmem_core::ring::{PopError, PushError, Ring, Unread};
use shmem_core::snapshot::{self, ReadError, Reader, Writer};
use shmem_core::{Life, Window};

const RING: usize = Ring::segment_len(1024);
const SNAPSHOT: usize = snapshot::segment_len(64);
const LEN: usize = 2 * RING + SNAPSHOT;

/// Bytes of a line of the caches.
const LINE: usize = 64;

/// What both share, and the cache of each.
struct Machine {
    memory: Heap,
    caches: [Heap; 2],
}

static MACHINE: OnceLock<Machine> = OnceLock::new();

fn machine() -> &'static Machine {
    MACHINE.get_or_init(|| Machine {
        memory: Heap::new(LEN),
        caches: [Heap::new(LEN), Heap::new(LEN)],
    })
}

fn base(heap: &Heap) -> usize {
    heap.window().address().as_ptr() as usize
}

/// Copies the lines that hold the bytes, given by their address in a cache; `up` is
/// to the memory.
fn copy(at: *const c_void, len: usize, up: bool) {
    let at = at as usize;
    let [first, second] = &machine().caches;
    let bases = [base(first), base(second)];
    let Some(&cache) = bases.iter().find(|&&base| (base..base + LEN).contains(&at)) else {
        return;
    };
    let memory = base(&machine().memory);
    let first = (at - cache) / LINE * LINE;
    let end = (at - cache + len).next_multiple_of(LINE).min(LEN);
    for offset in (first..end).step_by(8) {
        // SAFETY: inside both, 8-byte aligned; they live for ever.
        let word = |base: usize| unsafe { AtomicU64::from_ptr((base + offset) as *mut u64) };
        let (from, to) = if up { (cache, memory) } else { (memory, cache) };
        let value = word(from).load(Relaxed);
        if word(to).load(Relaxed) != value {
            word(to).store(value, Relaxed);
        }
    }
    std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
}

unsafe extern "C" fn clean(at: *const c_void, len: usize) {
    copy(at, len, true);
}

unsafe extern "C" fn invalidate(at: *const c_void, len: usize) {
    std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
    copy(at, len, false);
}

static MAINTENANCE: Maintenance = Maintenance { clean, invalidate };

/// A partition's view of the first ring, of the second, of the snapshot.
fn segments(partition: usize) -> [Window<'static>; 3] {
    let window = machine().caches[partition].window();
    let part = |offset, len| window.sub(offset, len).unwrap();
    [part(0, RING), part(RING, RING), part(2 * RING, SNAPSHOT)]
}

/// A record whose bytes say which it is.
fn record(number: u32) -> Vec<u8> {
    let len = 4 + number as usize * 7 % 150;
    let mut record = vec![number as u8; len];
    record[..4].copy_from_slice(&number.to_le_bytes());
    record
}

#[test]
fn rings_and_snapshots_work_between_caches_that_nothing_keeps_coherent() {
    const COUNT: u32 = 5000;
    maintain(&MAINTENANCE);
    let [there, back, told] = segments(0);
    let mut requests = Ring::attach(there)
        .unwrap()
        .producer(Life::first(1))
        .unwrap();
    let replies = Ring::attach(back).unwrap();
    let mut replies = replies.consumer(Life::first(1), Unread::Keep).unwrap();
    let reader = Reader::attach(told).unwrap();
    assert_eq!(reader.read(&mut [0; 64]), Err(ReadError::Empty));

    let [there, back, told] = segments(1);
    let from = Ring::attach(there).unwrap();
    let mut from = from.consumer(Life::first(2), Unread::Discard).unwrap();
    let mut to = Ring::attach(back)
        .unwrap()
        .producer(Life::first(2))
        .unwrap();
    let mut writer = Writer::attach(told).unwrap();
    let peer = thread::spawn(move || {
        let mut bytes = [0; 200];
        for number in 0..COUNT {
            let len = loop {
                match from.pop(&mut bytes) {
                    Ok(len) => break len,
                    Err(PopError::Empty) => thread::yield_now(),
                    Err(error) => panic!("{error}"),
                }
            };
            assert_eq!(bytes[..len], record(number));
            writer.write(&number.to_le_bytes()).unwrap();
            let mut place = loop {
                match to.reserve(len) {
                    Ok(place) => break place,
                    Err(error) => assert_eq!(error, PushError::Full),
                }
                thread::yield_now();
            };
            // SAFETY: as many bytes are reserved, and nobody else's.
            unsafe { bytes.as_ptr().copy_to(place.as_mut_ptr(), len) };
            place.commit(len).unwrap();
        }
    });
    let (mut sent, mut heard) = (0, 0);
    while heard < COUNT {
        if sent < COUNT && requests.push(&record(sent)).is_ok() {
            sent += 1;
        }
        let over = peer.is_finished();
        match replies.peek() {
            Ok(found) => {
                // SAFETY: the peer stores nothing into a record before it is released.
                assert_eq!(unsafe { found.as_slice() }, record(heard));
                replies.release().unwrap();
                let mut latest = [0; 4];
                if reader.read(&mut latest).is_ok() {
                    assert!(u32::from_le_bytes(latest) >= heard);
                }
                heard += 1;
            }
            Err(PopError::Empty) if !over => thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
    peer.join().unwrap();
}
