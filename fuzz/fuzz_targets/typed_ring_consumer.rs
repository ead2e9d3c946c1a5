//! A typed ring's consumer with a hostile producer, which stores arbitrary words between our calls
//! and during them.

#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use shmem_core::doorbell::NoDoorbell;
use shmem_core::typed_ring::{OnRestart, PopError, TypedConsumer, TypedRing};
use shmem_core::{Corrupt, Incarnation, Window};
use shmem_fuzz::{Many, PeerStore, Rarely, expand, memory, while_storing};

/// A record that does not fill its slot.
type Record = [u32; 3];

#[derive(Arbitrary, Debug)]
struct Input {
    /// The ring has 2 << this slots, up to 64.
    slots: u8,
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
    Pop,
    PopSlice(u8),
    Peek,
    Release,
    IsEmpty,
    Notify,
    /// The next incarnation takes over the end.
    TakeOver,
    /// The same incarnation releases the end and claims it again.
    Reclaim,
    /// The next incarnation of an honest producer pushes this many records.
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
    // Fails if the memory contains another record size.
    let Ok(ring) = TypedRing::attach(window) else {
        return;
    };
    for (incarnation, records) in (1..).zip(input.honest) {
        push(ring, incarnation, records);
    }
    run(ring, window, &input);
    if *input.threaded {
        let stores: Vec<PeerStore> = input.steps.iter().filter_map(|step| step.1).collect();
        while_storing(window, &stores, || run(ring, window, &input));
    }
});

/// Pushes as an honest producer with number `incarnation`, if the end can be claimed.
fn push(ring: TypedRing<'_, Record>, incarnation: u32, records: u8) {
    let incarnation = Incarnation::new(1, incarnation).expect("incarnations count from 1");
    if let Ok(mut producer) = ring.take_over_producer(incarnation) {
        let _ = producer.push_slice(&vec![[9; 3]; usize::from(records % 16)]);
    }
}

fn run(ring: TypedRing<'_, Record>, window: Window<'_>, input: &Input) {
    let on_restart = match input.discard {
        true => OnRestart::Discard,
        false => OnRestart::Keep,
    };
    let incarnation =
        |incarnation| Incarnation::new(2, incarnation).expect("incarnations count from 1");
    let mut current = incarnation(1);
    let Ok(mut consumer) = ring.take_over_consumer(current, on_restart) else {
        return;
    };
    let mut permanent = None;
    for (number, (step, store)) in (2..).zip(input.steps.iter()) {
        match step {
            Step::TakeOver | Step::Reclaim => {
                if matches!(step, Step::TakeOver) {
                    current = incarnation(number);
                }
                drop(consumer);
                match ring.take_over_consumer(current, on_restart) {
                    Ok(again) => (consumer, permanent) = (again, None),
                    Err(_) => return,
                }
            }
            Step::Restart(records) => push(ring, number + 1, *records),
            _ => permanent = run_step(&mut consumer, *step, permanent),
        }
        if let Some(store) = store {
            store.apply(window);
        }
    }
}

/// Makes one call. After a permanent error every call must return the same one.
fn run_step(
    consumer: &mut TypedConsumer<'_, Record>,
    step: Step,
    permanent: Option<Corrupt>,
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
        Step::Notify => corrupt(consumer.notify(&NoDoorbell)),
        Step::IsEmpty => {
            let empty = consumer.is_empty();
            assert!(!empty || permanent.is_none(), "a waiter would never wake");
            return permanent.or_else(|| corrupt(consumer.peek()));
        }
        _ => corrupt(consumer.release()),
    };
    assert!(consumer.remaining() <= consumer.ring().slots());
    assert!(
        permanent.is_none() || permanent == found,
        "{step:?} forgot {permanent:?}"
    );
    found
}

fn corrupt<T>(result: Result<T, PopError>) -> Option<Corrupt> {
    match result {
        Err(PopError::Corrupt(corrupt)) => Some(corrupt),
        _ => None,
    }
}
