//! A typed ring's producer with a hostile consumer, which stores arbitrary words between our calls
//! and during them. An earlier incarnation may have left the memory in any state.

#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use shmem_core::doorbell::NoDoorbell;
use shmem_core::typed_ring::{OnRestart, PushError, TypedProducer, TypedRing};
use shmem_core::{Corrupt, Incarnation, Window};
use shmem_fuzz::{LimitedWait, Many, PeerStore, Rarely, expand, memory, while_storing};

/// A record that does not fill its slot.
type Record = [u32; 3];

#[derive(Arbitrary, Debug)]
struct Input {
    /// The ring has 2 << this slots, up to 64.
    slots: u8,
    /// True if the control block is zeroed, as in a new ring.
    fresh: bool,
    /// True to make all stores from another thread too.
    threaded: Rarely,
    steps: Many<(Step, Option<PeerStore>)>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Step {
    Push,
    PushSlice(u8),
    Notify,
    Wait(u8, bool),
    /// The next incarnation takes over the end.
    TakeOver,
    /// The same incarnation releases the end and claims it again.
    Reclaim,
    /// The next incarnation of an honest consumer pops this many records.
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
    run(ring, window, &input.steps);
    if *input.threaded {
        let stores: Vec<PeerStore> = input.steps.iter().filter_map(|step| step.1).collect();
        while_storing(window, &stores, || run(ring, window, &input.steps));
    }
});

fn run(ring: TypedRing<'_, Record>, window: Window<'_>, steps: &[(Step, Option<PeerStore>)]) {
    let incarnation =
        |incarnation| Incarnation::new(1, incarnation).expect("incarnations count from 1");
    let mut current = incarnation(1);
    let Ok(mut producer) = ring.take_over_producer(current) else {
        return;
    };
    let mut permanent = None;
    for (number, (step, store)) in (2..).zip(steps) {
        match step {
            Step::TakeOver | Step::Reclaim => {
                if matches!(step, Step::TakeOver) {
                    current = incarnation(number);
                }
                drop(producer);
                match ring.take_over_producer(current) {
                    Ok(again) => (producer, permanent) = (again, None),
                    Err(_) => return,
                }
            }
            Step::Restart(records) => pop(ring, number, *records),
            _ => permanent = run_step(&mut producer, *step, permanent),
        }
        if let Some(store) = store {
            store.apply(window);
        }
    }
}

/// Pops as an honest consumer with number `incarnation`, if the end can be claimed.
fn pop(ring: TypedRing<'_, Record>, incarnation: u32, records: u8) {
    let incarnation = Incarnation::new(2, incarnation).expect("incarnations count from 1");
    if let Ok(mut consumer) = ring.take_over_consumer(incarnation, OnRestart::Discard) {
        for _ in 0..records {
            let _ = consumer.pop();
        }
    }
}

/// Makes one call. After a permanent error every call must return the same one.
fn run_step(
    producer: &mut TypedProducer<'_, Record>,
    step: Step,
    permanent: Option<Corrupt>,
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
            .wait_for_space(&mut LimitedWait::new(pauses, sleepy))
            .map(drop),
        _ => producer.notify(&NoDoorbell).map(drop),
    };
    assert!(producer.remaining() <= slots);
    let found = match result {
        Err(PushError::Corrupt(corrupt)) => Some(corrupt),
        _ => None,
    };
    assert!(
        permanent.is_none() || permanent == found,
        "{step:?} forgot {permanent:?}"
    );
    found
}
