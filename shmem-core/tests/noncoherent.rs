//! Two partitions whose data caches are not coherent.
#![cfg(all(feature = "noncoherent", feature = "alloc", not(loom)))]

mod caches;

use std::thread;

use caches::Machine;
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::ring::{OnRestart, PopError, PushError, Ring};
use shmem_core::snapshot::{self, ReadError, Reader, Writer};
use shmem_core::typed_ring::{self, TypedRing};
use shmem_core::{Incarnation, Region, Window};

const RING: usize = Ring::segment_len(1024);
const SNAPSHOT: usize = snapshot::segment_len(64);
const LEN: usize = 2 * RING + SNAPSHOT;

/// Returns the segments of the first ring, the second ring, and the snapshot.
fn segments(memory: Window<'static>) -> [Window<'static>; 3] {
    let part = |offset, len| memory.sub(offset, len).unwrap();
    [part(0, RING), part(RING, RING), part(2 * RING, SNAPSHOT)]
}

/// Returns a record whose bytes contain its number.
fn record(number: u32) -> Vec<u8> {
    let len = 4 + number as usize * 7 % 150;
    let mut record = vec![number as u8; len];
    record[..4].copy_from_slice(&number.to_le_bytes());
    record
}

#[test]
fn rings_and_snapshots_work_between_noncoherent_caches() {
    for line in [64, 128] {
        exchange_records(Machine::new(line, LEN));
    }
}

/// Two partitions exchange requests and replies, and one publishes its progress in a snapshot.
fn exchange_records(machine: &'static Machine) {
    const COUNT: u32 = 3000;
    let [there, back, progress] = segments(machine.window(0));
    let mut requests = Ring::attach(there)
        .unwrap()
        .claim_producer(Incarnation::first(1))
        .unwrap();
    let replies = Ring::attach(back).unwrap();
    let mut replies = replies
        .claim_consumer(Incarnation::first(1), OnRestart::Keep)
        .unwrap();
    let reader = Reader::attach(progress).unwrap();
    assert_eq!(reader.read(&mut [0; 64]), Err(ReadError::Empty));

    let [there, back, progress] = segments(machine.window(1));
    let from = Ring::attach(there).unwrap();
    let mut from = from
        .claim_consumer(Incarnation::first(2), OnRestart::Discard)
        .unwrap();
    let mut to = Ring::attach(back)
        .unwrap()
        .claim_producer(Incarnation::first(2))
        .unwrap();
    let mut writer = Writer::attach(progress).unwrap();
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
            // SAFETY: this many bytes are reserved, and they belong to this producer.
            unsafe { bytes.as_ptr().copy_to(place.as_mut_ptr(), len) };
            place.commit(len).unwrap();
        }
    });
    let (mut sent, mut heard) = (0, 0);
    while heard < COUNT {
        if sent < COUNT && requests.push(&record(sent)).is_ok() {
            sent += 1;
        }
        let is_finished = peer.is_finished();
        match replies.peek() {
            Ok(found) => {
                // SAFETY: the peer stores nothing into a record before its release.
                assert_eq!(unsafe { found.as_slice() }, record(heard));
                replies.release().unwrap();
                let mut latest = [0; 4];
                if reader.read(&mut latest).is_ok() {
                    assert!(u32::from_le_bytes(latest) >= heard);
                }
                heard += 1;
            }
            Err(PopError::Empty) if !is_finished => thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
    peer.join().unwrap();
}

#[test]
fn typed_rings_work_between_noncoherent_caches_while_an_end_is_claimed_again() {
    const COUNT: u32 = 3000;
    type Value = [u32; 9];
    let len = TypedRing::<Value>::segment_len(32);
    for line in [64, 128] {
        let machine = Machine::new(line, len);
        let ring = TypedRing::<Value>::attach(machine.window(1)).unwrap();
        let mut consumer = ring
            .claim_consumer(Incarnation::first(2), OnRestart::Keep)
            .unwrap();
        let peer = thread::spawn(move || {
            let ring = TypedRing::<Value>::attach(machine.window(0)).unwrap();
            let mut producer = ring.claim_producer(Incarnation::first(1)).unwrap();
            for number in 0..COUNT {
                if number % 100 == 99 {
                    // Another incarnation, without notice to the consumer.
                    core::mem::forget(producer);
                    let incarnation = Incarnation::new(1, number).unwrap();
                    producer = ring.claim_producer(incarnation).unwrap();
                }
                while producer.push(&[number; 9]).is_err() {
                    thread::yield_now();
                }
            }
        });
        let (mut number, mut restarts) = (0, 0);
        while number < COUNT {
            match consumer.pop() {
                Ok(value) => {
                    assert_eq!(value, [number; 9]);
                    number += 1;
                }
                Err(typed_ring::PopError::Restarted) => restarts += 1,
                Err(typed_ring::PopError::Empty) => thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(restarts, COUNT / 100);
        peer.join().unwrap();
    }
}

#[test]
fn compare_exchange_changes_the_memory_and_not_only_the_cache() {
    for line in [64, 128] {
        let machine = Machine::new(line, 128);
        let word = |partition| machine.window(partition).word(8);
        word(0).store(1, Relaxed);
        assert_eq!(word(1).compare_exchange(1, 2, Relaxed, Relaxed), Ok(1));
        assert_eq!(word(0).load(Relaxed), 2);
        assert_eq!(word(0).compare_exchange(1, 3, Relaxed, Relaxed), Err(2));
    }
}

#[test]
fn a_copy_into_part_of_a_line_keeps_the_rest_of_the_line() {
    for line in [64, 128] {
        let machine = Machine::new(line, 256);
        machine.window(0).write(0, &[1; 256]);
        machine.window(1).write(72, &[2; 12]);
        let mut all = [0; 256];
        machine.window(0).read(0, &mut all);
        let changed = all
            .iter()
            .position(|&byte| byte == 2)
            .zip(all.iter().rposition(|&byte| byte == 2));
        assert_eq!(changed, Some((72, 83)));
        assert!(all.iter().all(|&byte| byte == 1 || byte == 2), "{all:?}");
    }
}

#[test]
fn one_partition_attaches_a_region_that_the_other_one_formats() {
    for line in [64, 128] {
        let machine = Machine::new(line, 4096);
        assert!(Region::attach(machine.window(1)).is_err());
        let ours = Region::format(machine.window(0)).unwrap();
        let theirs = Region::attach(machine.window(1)).unwrap();
        let mut body = [1; 128];
        theirs.body().read(0, &mut body);
        assert_eq!((body, theirs.generation()), ([0; 128], 1));
        Region::format(machine.window(1)).unwrap();
        assert!(ours.is_stale());
    }
}
