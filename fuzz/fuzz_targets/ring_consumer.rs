//! A consumer whose producer stores whatever it likes, between our calls and
//! during them.

#![no_main]

use std::io::Read;

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use shmem_core::ring::{ByteReader, Consumer, OnRestart, PopError, Record, Ring};
use shmem_core::{Corrupt, Incarnation, Window};
use shmem_fuzz::{Many, Rarely, Scribble, expand, memory, while_scribbling};

#[derive(Arbitrary, Debug)]
struct Input {
    /// Capacity is 64 << this, up to 4 KiB.
    capacity: u8,
    /// Whether the control block is zeroed, as in a new ring.
    fresh: bool,
    /// Whether records for earlier incarnations are discarded.
    discard: bool,
    /// Records that an honest producer left, so many in each of its incarnations.
    honest: [u8; 2],
    /// Whether to play all scribbles from another thread too.
    threaded: Rarely,
    steps: Many<(Step, Option<Scribble>)>,
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
    /// A next incarnation takes the end over.
    Again,
    /// A next incarnation of an honest producer pushes so many bytes.
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
        let scribbles: Vec<Scribble> = input.steps.iter().filter_map(|step| step.1).collect();
        while_scribbling(window, &scribbles, || run(ring, window, &input));
    }
});

/// An honest producer pushes a record in one of its incarnations, if the ring lets it.
fn push(ring: Ring<'_>, incarnation: u32, len: u8) {
    let incarnation = Incarnation::new(1, incarnation).expect("incarnations count from 1");
    if let Ok(mut producer) = ring.take_over_producer(incarnation) {
        let _ = producer.push(&vec![9; usize::from(len)]);
    }
}

fn run(ring: Ring<'_>, window: Window<'_>, input: &Input) {
    let unread = match input.discard {
        true => OnRestart::Discard,
        false => OnRestart::Keep,
    };
    let incarnation =
        |incarnation| Incarnation::new(2, incarnation).expect("incarnations count from 1");
    let Ok(mut consumer) = ring.take_over_consumer(incarnation(1), unread) else {
        return;
    };
    let mut broken = None;
    for (number, (step, scribble)) in (2..).zip(input.steps.iter()) {
        match step {
            Step::Stream(len) => stream(ring, *len, unread),
            Step::Again => match ring.take_over_consumer(incarnation(number), unread) {
                Ok(again) => (consumer, broken) = (again, None),
                Err(_) => return,
            },
            Step::Restart(len) => push(ring, number + 1, *len),
            _ => broken = take(&mut consumer, *step, broken),
        }
        if let Some(scribble) = scribble {
            scribble.apply(window);
        }
    }
}

/// One call. Once a ring is broken, every call that looks says the same.
fn take(consumer: &mut Consumer<'_>, step: Step, broken: Option<Corrupt>) -> Option<Corrupt> {
    let max = consumer.ring().max_record();
    let found = match step {
        Step::Pop(len) => pop(consumer, usize::from(len), max),
        Step::PopLarge => pop(consumer, max, max),
        Step::Peek => corrupt(consumer.peek().map(|record| look(record, max))),
        Step::Drain { limit, accept } if limit > 0 => drain(consumer, limit, accept, max),
        Step::IsEmpty => {
            let empty = consumer.is_empty();
            assert!(!empty || broken.is_none(), "a waiter would sleep for ever");
            return broken;
        }
        _ => {
            let _ = consumer.release();
            return broken;
        }
    };
    assert!(
        broken.is_none() || broken == found,
        "{step:?} forgot {broken:?}"
    );
    found
}

fn look(record: Record<'_>, max: usize) {
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
        Err(PopError::TooLong { len }) => assert!(len > room && len <= max),
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
    assert!(calls <= limit, "more records than were asked for");
    let lap = consumer.ring().capacity() / 8;
    assert!(calls <= lap, "more records than a ring has room for");
    if let Ok(count) = result {
        assert!(count <= calls);
    }
    corrupt(result)
}

/// The byte stream owns a consumer: a new one for one call.
fn stream(ring: Ring<'_>, len: u8, unread: OnRestart) {
    let Ok(consumer) = ring.take_over_consumer(Incarnation::first(2), unread) else {
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
