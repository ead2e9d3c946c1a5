//! A ring whose ends die.

pub(super) mod checks;
mod consumer;
mod producer;
pub(super) mod ring_ledger;

use std::mem::offset_of;

use fastrand::Rng;
use shmem_core::layout::RingControl;
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::ring::{OnRestart, Ring};
use shmem_registry::Kind;

use crate::kit::{
    Actor, Cast, Incarnation, Join, Layout, Outcome, Role, Scenario, Scene, Step, boxed, ensure,
};
use consumer::RecordConsumer;
use producer::RecordProducer;
use ring_ledger::RingLedger;

/// Incarnations of producers that the account holds at a time.
const PRODUCERS: usize = 192;

/// Bytes of the largest ring.
const LARGE: usize = 4096;

const PRODUCER: usize = 0;
const CONSUMER: usize = 1;

const CASTS: &[Cast] = &[
    Cast::new(&[PRODUCER], &[CONSUMER]),
    Cast::new(&[CONSUMER], &[PRODUCER]),
    Cast::new(&[PRODUCER, CONSUMER], &[]),
];

pub(crate) const RING_RESULTS: Scenario = Scenario {
    name: "ring-results",
    about: "a ring that keeps unread records; either end dies, or both",
    roles: &[
        PRODUCING,
        consuming(|seat| boxed(RecordConsumer::join(seat, OnRestart::Keep))),
    ],
    casts: CASTS,
    shapes: &[64, 128, 256, LARGE as u32],
    layout: |shape| {
        let len = Ring::segment_len(shape as usize);
        Layout::with_object(Kind::RING, len, ring_ledger::account_len(PRODUCERS))
    },
    starts: |shape| match shape {
        64 => 32,
        128 | 256 => 16,
        _ => 2,
    },
    prepare,
    audits_each_death: false,
    audit: |scene, actors, _| {
        let ledger = drain(scene, actors)?;
        ensure_complete(ledger)
    },
    ..Scenario::BASE
};

pub(crate) const RING_COMMANDS: Scenario = Scenario {
    name: "ring-commands",
    about: "a ring that discards records for an earlier consumer; either end dies, or both",
    roles: &[
        PRODUCING,
        consuming(|seat| boxed(RecordConsumer::join(seat, OnRestart::Discard))),
    ],
    audit: |scene, actors, _| {
        let ledger = drain(scene, actors)?;
        let word = scene.memory.object.word(offset_of!(RingControl, discarded));
        // A consumer that dies between a record and its count counts it twice or not at all.
        ensure_balanced(ledger, word.load(Relaxed), ledger.consumers.get() - 1)
    },
    ..RING_RESULTS
};

const PRODUCING: Role = Role {
    claimed: &[0, 1, 2, 3],
    ..Role::exclusive("producer", producer::OPS, |seat| {
        boxed(RecordProducer::join(seat))
    })
};

const fn consuming(join: Join) -> Role {
    Role {
        claimed: &[0, 1, 2, 3, 4],
        // An empty ring: a late step may damage unread records.
        before_return: &[0; 40],
        ..Role::exclusive("consumer", consumer::OPS, join)
    }
}

/// The words with the epochs of both ends.
const EPOCHS: [usize; 2] = [
    offset_of!(RingControl, producer_epoch),
    offset_of!(RingControl, consumer_epoch),
];

/// Brings the smallest ring to every position, with and without unread records. Fills the
/// largest one with records of less than an eighth of it, which are not released at once.
fn prepare(scene: &Scene<'_>, start: u32) -> Outcome {
    let (rounds, unread) = match scene.memory.object.len() < Ring::segment_len(LARGE) {
        true => (start % 8, start / 8),
        false => (0, 6),
    };
    if start == 0 {
        return Ok(()); // Never used.
    }
    let mut rng = Rng::with_seed(start.into());
    if start % 3 == 2 {
        // The epochs wrap soon.
        for offset in EPOCHS {
            scene.memory.object.word(offset).store(0xfffe, Relaxed);
        }
    }
    let mut producer = scene.join(PRODUCER, Incarnation::first(6))?;
    let mut consumer = scene.join(CONSUMER, Incarnation::first(7))?;
    for _ in 0..rounds {
        producer.perform(0, &mut rng)?;
        consumer.perform(0, &mut rng)?;
    }
    for _ in 0..unread {
        producer.perform(0, &mut rng)?;
    }
    Ok(())
}

/// Empties the ring, and checks that records pass. Returns the ring's ledger.
pub(super) fn drain<'m>(
    scene: &Scene<'m>,
    actors: &mut [&mut Actor<'m>],
) -> Outcome<RingLedger<'m>> {
    let ledger = RingLedger::new(scene.memory.ledger);
    let [producer, consumer] = actors else {
        return Ok(ledger);
    };
    let mut rng = Rng::with_seed(0);
    let mut idle = 0;
    // A pop that returns no record reports restarts and discarded records.
    while idle < 3 {
        idle += 1;
        while consumer.perform(0, &mut rng)? == Step::Done {
            idle = 0;
        }
    }
    let mut passed = false;
    for _ in 0..4 {
        producer.perform(0, &mut rng)?;
        passed |= consumer.perform(0, &mut rng)? == Step::Done;
    }
    while consumer.perform(0, &mut rng)? == Step::Done {}
    ensure(passed, || "records do not pass any more".to_owned())?;
    Ok(ledger)
}

/// Checks that all acknowledged records came.
pub(super) fn ensure_complete(ledger: RingLedger<'_>) -> Outcome {
    let (released, last) = (ledger.released(), ledger.producers.get());
    let unread = ledger.unread(released, last);
    ensure(unread == Some(0), || {
        let produced = ledger.produced(released.incarnation);
        format!(
            "the ring is empty, and {unread:?} acknowledged records did not come: released \
             {released:?} of {produced:?}, the last incarnation is {last}"
        )
    })?;
    let (lost, doubted) = (ledger.lost(last), ledger.doubted.get());
    ensure(lost <= doubted, || {
        format!("{lost} acknowledged records were never handed out, of {doubted} in doubt")
    })
}

/// Checks that popped plus `discarded` records are those that were pushed, within `doubt`.
pub(super) fn ensure_balanced(ledger: RingLedger<'_>, discarded: u32, doubt: u32) -> Outcome {
    let popped = ledger.popped.get();
    let incarnations = 1..=ledger.producers.get();
    let (mut least, mut most) = (0, 0);
    for produced in incarnations.filter_map(|number| ledger.produced(number)) {
        least += produced.acknowledged;
        most += produced.attempted;
    }
    let taken = popped + discarded;
    ensure(taken + doubt >= least && taken <= most + doubt, || {
        format!(
            "{popped} popped and {discarded} discarded are not the {least} to {most} pushed, \
             with {doubt} in doubt"
        )
    })
}
