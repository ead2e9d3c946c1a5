//! A consumer with a hostile producer, which stores arbitrary words between our calls and
//! during them.

#![no_main]

use std::io::Read;

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use shmem_core::ring::{ByteReader, Consumer, OnRestart, PopError, Record, Ring};
use shmem_core::{Corrupt, Incarnation, Window};
use shmem_fuzz::{Many, PeerStore, Rarely, expand, memory, while_storing};

#[derive(Arbitrary, Debug)]
struct Input {
    /// The capacity is 64 << this, up to 4 KiB.
    capacity: u8,
    /// True if the control block is zeroed, as in a new ring.
    fresh: bool,
    /// True if records for earlier incarnations are discarded.
    discard: bool,
    /// The number of records from each of two incarnations of an honest producer.
    honest: [u8; 2],
    /// True to make all stores from another thread too.
    threaded: Rarely,
    steps: Many<(Step, Option<PeerStore>)>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Step {
    Pop(u8),
    PopLarge,
    Peek,
    Release,
    Drain {
        limit: u8,
        accept: u8,
    },
    IsEmpty,
    Stream(u8),
    /// The next incarnation takes over the end.
    TakeOver,
    /// The next incarnation of an honest producer pushes a record of this many bytes.
    Restart(u8),
}

fuzz_target!(|data: &[u8]| {
    let data = expand(data);
    let mut bytes = Unstructured::new(&data);
    let Ok(input) = Input::arbitrary(&mut bytes) else {
        return;
    };
    let len = Ring::segment_len(64 << (input.capacity % 7));
    let control = if input.fresh { Ring::segment_len(0) } else { 0 };
    let heap = memory(len, control, &mut bytes);
    let window = heap.window();
    let ring = Ring::attach(window).expect("a segment of a ring's length");
    for (incarnation, records) in (1..).zip(input.honest) {
        for len in 0..records % 16 {
            push(ring, incarnation, len);
        }
    }
    run(ring, window, &input);
    if *input.threaded {
        let stores: Vec<PeerStore> = input.steps.iter().filter_map(|step| step.1).collect();
        while_storing(window, &stores, || run(ring, window, &input));
    }
});

/// Pushes a record as an honest producer with number `incarnation`, if the end can be claimed.
fn push(ring: Ring<'_>, incarnation: u32, len: u8) {
    let incarnation = Incarnation::new(1, incarnation).expect("incarnations count from 1");
    if let Ok(mut producer) = ring.take_over_producer(incarnation) {
        let _ = producer.push(&vec![9; usize::from(len)]);
    }
}

fn run(ring: Ring<'_>, window: Window<'_>, input: &Input) {
    let on_restart = match input.discard {
        true => OnRestart::Discard,
        false => OnRestart::Keep,
    };
    let incarnation =
        |incarnation| Incarnation::new(2, incarnation).expect("incarnations count from 1");
    let Ok(mut consumer) = ring.take_over_consumer(incarnation(1), on_restart) else {
        return;
    };
    let mut permanent = None;
    for (number, (step, store)) in (2..).zip(input.steps.iter()) {
        match step {
            Step::Stream(len) => stream(ring, *len, on_restart),
            Step::TakeOver => match ring.take_over_consumer(incarnation(number), on_restart) {
                Ok(again) => (consumer, permanent) = (again, None),
                Err(_) => return,
            },
            Step::Restart(len) => push(ring, number + 1, *len),
            _ => permanent = run_step(&mut consumer, *step, permanent),
        }
        if let Some(store) = store {
            store.apply(window);
        }
    }
}

/// Makes one call. After a permanent error every call that reads the ring must return the same
/// one.
fn run_step(
    consumer: &mut Consumer<'_>,
    step: Step,
    permanent: Option<Corrupt>,
) -> Option<Corrupt> {
    let max = consumer.ring().max_record();
    let found = match step {
        Step::Pop(len) => pop(consumer, usize::from(len), max),
        Step::PopLarge => pop(consumer, max, max),
        Step::Peek => corrupt(consumer.peek().map(|record| check_record(record, max))),
        Step::Drain { limit, accept } if limit > 0 => drain(consumer, limit, accept, max),
        Step::IsEmpty => {
            let empty = consumer.is_empty();
            assert!(!empty || permanent.is_none(), "a waiter would never wake");
            return permanent;
        }
        _ => {
            let _ = consumer.release();
            return permanent;
        }
    };
    assert!(
        permanent.is_none() || permanent == found,
        "{step:?} forgot {permanent:?}"
    );
    found
}

fn check_record(record: Record<'_>, max: usize) {
    assert!(record.len() <= max);
    let mut bytes = vec![0; record.len()];
    assert_eq!(record.read(0, &mut bytes), bytes.len());
    assert_eq!(record.read(record.len(), &mut bytes), 0);
}

fn pop(consumer: &mut Consumer<'_>, room: usize, max: usize) -> Option<Corrupt> {
    let mut record = vec![0; room];
    let result = consumer.pop(&mut record);
    match result {
        Ok(len) => assert!(len <= room && len <= max),
        Err(PopError::TooLong { len }) => {
            let len = len as usize;
            assert!(len > room && len <= max);
        }
        _ => {}
    }
    corrupt(result)
}

fn drain(consumer: &mut Consumer<'_>, limit: u8, accept: u8, max: usize) -> Option<Corrupt> {
    let (limit, mut calls) = (usize::from(limit), 0);
    let result = consumer.drain(limit, |record| {
        calls += 1;
        assert!(record.len() <= max);
        calls <= usize::from(accept)
    });
    assert!(calls <= limit, "more records than requested");
    let lap = consumer.ring().capacity() / 8;
    assert!(calls <= lap, "more records than a ring has room for");
    if let Ok(count) = result {
        assert!(count <= calls);
    }
    corrupt(result)
}

/// Makes one call of a byte stream, which owns a consumer: takes over the end for it.
fn stream(ring: Ring<'_>, len: u8, on_restart: OnRestart) {
    let Ok(consumer) = ring.take_over_consumer(Incarnation::first(2), on_restart) else {
        return;
    };
    let mut bytes = vec![0; usize::from(len)];
    if let Ok(count) = ByteReader::new(consumer).read(&mut bytes) {
        assert!(count <= bytes.len());
    }
}

fn corrupt<T>(result: Result<T, PopError>) -> Option<Corrupt> {
    match result {
        Err(PopError::Corrupt(corrupt)) => Some(corrupt),
        _ => None,
    }
}
