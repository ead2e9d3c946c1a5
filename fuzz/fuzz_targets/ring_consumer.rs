//! A consumer whose producer stores whatever it likes, between our calls and
//! during them.

#![no_main]

use std::io::Read;

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use shmem_core::Corrupt;
use shmem_core::Window;
use shmem_core::ring::{ByteReader, Consumer, PopError, Ring, TypedConsumer};
use shmem_fuzz::{Scribble, memory, while_scribbling};

#[derive(Arbitrary, Debug)]
struct Input {
    /// Capacity is 64 << this, up to 4 KiB.
    capacity: u8,
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
    let heap = memory(len, &mut bytes);
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
        if matches!(step, Step::Again) {
            drop(consumer);
            broken = None;
            match ring.take_over_consumer(2) {
                Ok(again) => consumer = again,
                Err(_) => return,
            }
        } else if let Some(found) = take(&mut consumer, ring, *step) {
            assert!(broken.is_none_or(|before| before == found), "another corruption");
            broken = Some(found);
        } else if broken.is_some() {
            let sticky = matches!(step, Step::Release | Step::IsEmpty)
                || matches!(step, Step::Drain { limit: 0, .. } | Step::Stream(0));
            assert!(sticky, "{step:?} forgot that the ring is broken");
        }
        if let Some(scribble) = scribble {
            scribble.apply(window);
        }
    }
}

/// One call; what it says of a broken producer.
fn take(consumer: &mut Consumer<'_>, ring: Ring<'_>, step: Step) -> Option<Corrupt> {
    let max = ring.max_record();
    match step {
        Step::Pop(len) => pop(consumer, usize::from(len), max),
        Step::PopLarge => pop(consumer, max, max),
        Step::Peek => {
            let result = consumer.peek().map(|record| {
                assert!(record.len() <= max);
                let mut bytes = vec![0; record.len()];
                assert_eq!(record.read(0, &mut bytes), bytes.len());
                assert_eq!(record.read(record.len(), &mut bytes), 0);
            });
            corrupt(result)
        }
        Step::Release => {
            consumer.release();
            None
        }
        Step::Drain { limit, accept } => drain(consumer, limit, accept, max),
        Step::IsEmpty => {
            consumer.is_empty();
            None
        }
        _ => wrapped(ring, step),
    }
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
    if let Ok(count) = result {
        assert!(count <= calls);
    }
    corrupt(result)
}
