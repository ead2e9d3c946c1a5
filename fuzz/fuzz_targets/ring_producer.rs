//! A producer with a hostile consumer, which stores arbitrary words between our calls and
//! during them. An earlier incarnation may have left the memory in any state.

#![no_main]

use std::io::Write;

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use shmem_core::ring::{ByteWriter, OnRestart, Producer, PushError, Ring};
use shmem_core::{Corrupt, Incarnation, Window};
use shmem_fuzz::{Many, PeerStore, Rarely, expand, memory, while_storing};

#[derive(Arbitrary, Debug)]
struct Input {
    /// The capacity is 64 << this, up to 4 KiB.
    capacity: u8,
    /// True if the control block is zeroed, as in a new ring.
    fresh: bool,
    /// True to make all stores from another thread too.
    threaded: Rarely,
    steps: Many<(Step, Option<PeerStore>)>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Step {
    Push(u16),
    Reserve {
        len: u8,
        commit: u8,
    },
    Forget(u8),
    Batch {
        records: u8,
        len: u8,
        publish: bool,
    },
    Stream(u16),
    /// The next incarnation takes over the end.
    TakeOver,
    /// The next incarnation of an honest consumer pops this many records.
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
    run(window, &input.steps);
    if *input.threaded {
        let stores: Vec<PeerStore> = input.steps.iter().filter_map(|step| step.1).collect();
        while_storing(window, &stores, || run(window, &input.steps));
    }
});

fn run(window: Window<'_>, steps: &[(Step, Option<PeerStore>)]) {
    let ring = Ring::attach(window).expect("a segment of a ring's length");
    let incarnation =
        |incarnation| Incarnation::new(1, incarnation).expect("incarnations count from 1");
    let Ok(mut producer) = ring.take_over_producer(incarnation(1)) else {
        return;
    };
    let mut permanent = None;
    for (number, (step, store)) in (2..).zip(steps) {
        match step {
            Step::Stream(len) => stream(ring, *len),
            Step::TakeOver => match ring.take_over_producer(incarnation(number)) {
                Ok(again) => (producer, permanent) = (again, None),
                Err(_) => return,
            },
            Step::Restart(records) => pop(ring, number, *records),
            _ => {
                let result = run_step(&mut producer, *step);
                permanent = check_permanent(result, *step, permanent);
            }
        }
        if let Some(store) = store {
            store.apply(window);
        }
    }
}

/// Pops as an honest consumer with number `incarnation`, if the end can be claimed.
fn pop(ring: Ring<'_>, incarnation: u32, records: u8) {
    let incarnation = Incarnation::new(2, incarnation).expect("incarnations count from 1");
    if let Ok(mut consumer) = ring.take_over_consumer(incarnation, OnRestart::Discard) {
        for _ in 0..records {
            let _ = consumer.pop(&mut vec![0; ring.max_record()]);
        }
    }
}

/// Checks that after a permanent error every call that reads the ring returns the same one.
fn check_permanent(
    result: Result<(), PushError>,
    step: Step,
    permanent: Option<Corrupt>,
) -> Option<Corrupt> {
    match (permanent, result) {
        (None, Err(PushError::Corrupt(found))) => Some(found),
        // A record that never fits is an error of the caller, also in a corrupt ring; a restart
        // is still reported.
        (Some(_), Err(PushError::TooLong { .. } | PushError::Restarted)) | (None, _) => permanent,
        (Some(before), result) => {
            let sticky = result == Err(PushError::Corrupt(before));
            assert!(sticky, "{step:?} forgot {before:?}: {result:?}");
            permanent
        }
    }
}

fn run_step(producer: &mut Producer<'_>, step: Step) -> Result<(), PushError> {
    let max = producer.ring().max_record();
    match step {
        Step::Push(len) => {
            let result = producer.push(&vec![1; usize::from(len)]);
            let too_long = matches!(result, Err(PushError::TooLong { .. }));
            assert_eq!(too_long, usize::from(len) > max);
            result
        }
        Step::Reserve { len, commit } => {
            let mut reservation = producer.reserve(usize::from(len))?;
            assert_eq!(reservation.len(), usize::from(len));
            reservation.write(0, &vec![2; usize::from(len)]);
            reservation.commit(usize::from(commit.min(len)))
        }
        Step::Forget(len) => producer.reserve(usize::from(len)).map(drop),
        Step::Batch {
            records,
            len,
            publish,
        } => {
            let mut batch = producer.batch();
            let record = vec![3; usize::from(len)];
            let mut result = batch.push(&record);
            for _ in 0..records {
                if result.is_err() {
                    break;
                }
                result = batch.push(&record);
            }
            let published = if publish { batch.publish() } else { Ok(()) };
            result.and(published)
        }
        _ => Ok(()),
    }
}

/// Makes one call of a byte stream, which owns a producer: takes over the end for it.
fn stream(ring: Ring<'_>, len: u16) {
    let Ok(producer) = ring.take_over_producer(Incarnation::first(1)) else {
        return;
    };
    let bytes = vec![5; usize::from(len)];
    if let Ok(count) = ByteWriter::new(producer).write(&bytes) {
        assert!(count <= bytes.len());
    }
}
