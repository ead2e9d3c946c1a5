//! A consumer whose producer stores whatever it likes, between our calls and
//! during them.

#![no_main]

use std::io::Read;

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use shmem_core::Corrupt;
use shmem_core::Window;
use shmem_core::ring::{ByteReader, Consumer, PopError, Record, Ring, TypedConsumer};
use shmem_fuzz::{Scribble, memory, while_scribbling};

#[derive(Arbitrary, Debug)]
struct Input {
    /// Capacity is 64 << this, up to 4 KiB.
    capacity: u8,
    /// Whether the control block is zeroed, as in a new ring.
    fresh: bool,
    /// Whether to play all scribbles from another thread too.
    threaded: bool,
    steps: Vec<(Step, Option<Scribble>)>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Step {
    Pop(u8),
    PopLarge,
    Peek,
    Release,
    Drain { limit: u8, accept: u8 },
    IsEmpty,
    Typed,
    TypedSlice,
    Stream(u8),
    Again,
}

fuzz_target!(|data: &[u8]| {
    let mut bytes = Unstructured::new(data);
    let Ok(input) = Input::arbitrary(&mut bytes) else {
        return;
    };
    let len = Ring::segment_len(64 << (input.capacity % 7));
    let control = if input.fresh { Ring::segment_len(0) } else { 0 };
    let heap = memory(len, control, &mut bytes);
    let window = heap.window();
    run(window, &input.steps);
    if input.threaded {
        let scribbles: Vec<Scribble> = input.steps.iter().filter_map(|step| step.1).collect();
        while_scribbling(window, &scribbles, || run(window, &input.steps));
    }
});

fn run(window: Window<'_>, steps: &[(Step, Option<Scribble>)]) {
    let ring = Ring::attach(window).expect("a segment of a ring's length");
    let Ok(mut consumer) = ring.take_over_consumer(2) else {
        return;
    };
    let mut broken = None;
    for (step, scribble) in steps {
        match step {
            Step::Typed | Step::TypedSlice | Step::Stream(_) => wrapped(ring, *step),
            Step::Again => match ring.take_over_consumer(2) {
                Ok(again) => (consumer, broken) = (again, None),
                Err(_) => return,
            },
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
            consumer.release();
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

/// The typed end and the byte stream own a consumer: a new one for one call.
fn wrapped(ring: Ring<'_>, step: Step) {
    let Ok(consumer) = ring.take_over_consumer(2) else {
        return;
    };
    match step {
        Step::Typed => {
            let _ = TypedConsumer::<[u32; 3]>::new(consumer).pop();
        }
        Step::TypedSlice => {
            let mut values = [[0_u32; 3]; 5];
            if let Ok(count) = TypedConsumer::new(consumer).pop_slice(&mut values) {
                assert!(count <= values.len());
            }
        }
        Step::Stream(len) => {
            let mut bytes = vec![0; usize::from(len)];
            if let Ok(count) = ByteReader::new(consumer).read(&mut bytes) {
                assert!(count <= bytes.len());
            }
        }
        _ => {}
    }
}

fn corrupt<T>(result: Result<T, PopError>) -> Option<Corrupt> {
    match result {
        Err(PopError::Corrupt(corrupt)) => Some(corrupt),
        _ => None,
    }
}
