//! A typed ring's consumer whose producer stores whatever it likes, between our calls and
//! during them.

#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use shmem_core::doorbell::Silent;
use shmem_core::typed_ring::{OnRestart, PopError, TypedConsumer, TypedRing};
use shmem_core::{Corrupt, Incarnation, Window};
use shmem_fuzz::{Many, Rarely, Scribble, expand, memory, while_scribbling};

/// Bytes that leave a part of their slot free.
type Record = [u32; 3];

#[derive(Arbitrary, Debug)]
struct Input {
    /// Slots are 2 << this, up to 64.
    slots: u8,
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
    Pop,
    PopSlice(u8),
    Peek,
    Release,
    IsEmpty,
    Notify,
    /// A next incarnation takes the end over.
    Again,
    /// The same incarnation gives the end back and claims it again.
    Return,
    /// A next incarnation of an honest producer pushes so many records.
    Restart(u8),
}

fuzz_target!(|data: &[u8]| {
    let data = expand(data);
    let mut bytes = Unstructured::new(&data);
    let Ok(input) = Input::arbitrary(&mut bytes) else {
        return;
    };
    let len = TypedRing::<Record>::segment_len(2 << (input.slots % 6));
    let control = if input.fresh {
        TypedRing::<Record>::segment_len(0)
    } else {
        0
    };
    let heap = memory(len, control, &mut bytes);
    let window = heap.window();
    // A size of records that is not ours is refused here.
    let Ok(ring) = TypedRing::attach(window) else {
        return;
    };
    for (incarnation, records) in (1..).zip(input.honest) {
        push(ring, incarnation, records);
    }
    run(ring, window, &input);
    if *input.threaded {
        let scribbles: Vec<Scribble> = input.steps.iter().filter_map(|step| step.1).collect();
        while_scribbling(window, &scribbles, || run(ring, window, &input));
    }
});

/// An honest producer pushes records in one of its incarnations, if the ring lets it.
fn push(ring: TypedRing<'_, Record>, incarnation: u32, records: u8) {
    let incarnation = Incarnation::new(1, incarnation).expect("incarnations count from 1");
    if let Ok(mut producer) = ring.take_over_producer(incarnation) {
        let _ = producer.push_slice(&vec![[9; 3]; usize::from(records % 16)]);
    }
}

fn run(ring: TypedRing<'_, Record>, window: Window<'_>, input: &Input) {
    let unread = match input.discard {
        true => OnRestart::Discard,
        false => OnRestart::Keep,
    };
    let incarnation =
        |incarnation| Incarnation::new(2, incarnation).expect("incarnations count from 1");
    let mut current = incarnation(1);
    let Ok(mut consumer) = ring.take_over_consumer(current, unread) else {
        return;
    };
    let mut broken = None;
    for (number, (step, scribble)) in (2..).zip(input.steps.iter()) {
        match step {
            Step::Again | Step::Return => {
                if matches!(step, Step::Again) {
                    current = incarnation(number);
                }
                drop(consumer);
                match ring.take_over_consumer(current, unread) {
                    Ok(again) => (consumer, broken) = (again, None),
                    Err(_) => return,
                }
            }
            Step::Restart(records) => push(ring, number + 1, *records),
            _ => broken = take(&mut consumer, *step, broken),
        }
        if let Some(scribble) = scribble {
            scribble.apply(window);
        }
    }
}

/// One call. Once a ring is broken, every call says the same.
fn take(
    consumer: &mut TypedConsumer<'_, Record>,
    step: Step,
    broken: Option<Corrupt>,
) -> Option<Corrupt> {
    let found = match step {
        Step::Pop => corrupt(consumer.pop()),
        Step::PopSlice(len) => {
            let mut records = vec![[0; 3]; usize::from(len)];
            let popped = consumer.pop_slice(&mut records);
            let slots = consumer.ring().slots();
            assert!(popped.map_or(true, |count| count <= records.len().min(slots)));
            corrupt(popped)
        }
        Step::Peek => corrupt(consumer.peek()),
        Step::Notify => corrupt(consumer.notify(&Silent)),
        Step::IsEmpty => {
            let empty = consumer.is_empty();
            assert!(!empty || broken.is_none(), "a waiter would sleep for ever");
            return broken.or_else(|| corrupt(consumer.peek()));
        }
        _ => corrupt(consumer.release()),
    };
    assert!(consumer.remaining() <= consumer.ring().slots());
    assert!(
        broken.is_none() || broken == found,
        "{step:?} forgot {broken:?}"
    );
    found
}

fn corrupt<T>(result: Result<T, PopError>) -> Option<Corrupt> {
    match result {
        Err(PopError::Corrupt(corrupt)) => Some(corrupt),
        _ => None,
    }
}
