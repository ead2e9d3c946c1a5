//! A typed ring's producer whose consumer stores whatever it likes, between our calls and
//! during them, over memory that an earlier incarnation left in any state.

#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use shmem_core::doorbell::Silent;
use shmem_core::typed_ring::{OnRestart, PushError, TypedProducer, TypedRing};
use shmem_core::{Corrupt, Incarnation, Window};
use shmem_fuzz::{Limited, Many, Rarely, Scribble, expand, memory, while_scribbling};

/// Bytes that leave a part of their slot free.
type Record = [u32; 3];

#[derive(Arbitrary, Debug)]
struct Input {
    /// Slots are 2 << this, up to 64.
    slots: u8,
    /// Whether the control block is zeroed, as in a new ring.
    fresh: bool,
    /// Whether to play all scribbles from another thread too.
    threaded: Rarely,
    steps: Many<(Step, Option<Scribble>)>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Step {
    Push,
    PushSlice(u8),
    Notify,
    Wait(u8, bool),
    /// A next incarnation takes the end over.
    Again,
    /// The same incarnation gives the end back and claims it again.
    Return,
    /// A next incarnation of an honest consumer pops so many records.
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
    run(ring, window, &input.steps);
    if *input.threaded {
        let scribbles: Vec<Scribble> = input.steps.iter().filter_map(|step| step.1).collect();
        while_scribbling(window, &scribbles, || run(ring, window, &input.steps));
    }
});

fn run(ring: TypedRing<'_, Record>, window: Window<'_>, steps: &[(Step, Option<Scribble>)]) {
    let incarnation =
        |incarnation| Incarnation::new(1, incarnation).expect("incarnations count from 1");
    let mut current = incarnation(1);
    let Ok(mut producer) = ring.take_over_producer(current) else {
        return;
    };
    let mut broken = None;
    for (number, (step, scribble)) in (2..).zip(steps) {
        match step {
            Step::Again | Step::Return => {
                if matches!(step, Step::Again) {
                    current = incarnation(number);
                }
                drop(producer);
                match ring.take_over_producer(current) {
                    Ok(again) => (producer, broken) = (again, None),
                    Err(_) => return,
                }
            }
            Step::Restart(records) => pop(ring, number, *records),
            _ => broken = take(&mut producer, *step, broken),
        }
        if let Some(scribble) = scribble {
            scribble.apply(window);
        }
    }
}

/// An honest consumer pops in one of its incarnations, if the ring lets it.
fn pop(ring: TypedRing<'_, Record>, incarnation: u32, records: u8) {
    let incarnation = Incarnation::new(2, incarnation).expect("incarnations count from 1");
    if let Ok(mut consumer) = ring.take_over_consumer(incarnation, OnRestart::Discard) {
        for _ in 0..records {
            let _ = consumer.pop();
        }
    }
}

/// One call. Once a ring is broken, every call says the same.
fn take(
    producer: &mut TypedProducer<'_, Record>,
    step: Step,
    broken: Option<Corrupt>,
) -> Option<Corrupt> {
    let slots = producer.ring().slots();
    let result = match step {
        Step::Push => producer.push(&[1; 3]),
        Step::PushSlice(len) => {
            let records = vec![[2; 3]; usize::from(len) + 1];
            let pushed = producer.push_slice(&records);
            assert!(pushed.map_or(true, |count| {
                (1..=records.len().min(slots)).contains(&count)
            }));
            pushed.map(drop)
        }
        Step::Wait(pauses, sleepy) => producer
            .wait_for_space(&mut Limited::new(pauses, sleepy))
            .map(drop),
        _ => producer.notify(&Silent).map(drop),
    };
    assert!(producer.remaining() <= slots);
    let found = match result {
        Err(PushError::Corrupt(corrupt)) => Some(corrupt),
        _ => None,
    };
    assert!(
        broken.is_none() || broken == found,
        "{step:?} forgot {broken:?}"
    );
    found
}
