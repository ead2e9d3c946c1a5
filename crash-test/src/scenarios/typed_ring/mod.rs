//! A typed ring whose ends die. The ledger and the checks are those of the ring of bytes.

mod consumer;
mod producer;
mod record;

use std::mem::offset_of;

use fastrand::Rng;
use shmem_core::layout::TypedRingControl;
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::typed_ring::inspect::Inspection;
use shmem_core::typed_ring::{OnRestart, TypedRing};
use shmem_registry::Kind;

use super::ring::{drain, ensure_balanced, ensure_complete, ring_ledger};
use crate::kit::{
    Cast, Incarnation, Join, Layout, OrViolation, Outcome, Role, Scenario, Scene, boxed,
};
use consumer::RecordConsumer;
use producer::RecordProducer;
use record::Record;

/// Incarnations of producers that the account holds at a time.
const PRODUCERS: usize = 192;

/// Slots of the largest ring.
const LARGE: u32 = 256;

const PRODUCER: usize = 0;
const CONSUMER: usize = 1;

const CASTS: &[Cast] = &[
    Cast::new(&[PRODUCER], &[CONSUMER]),
    Cast::new(&[CONSUMER], &[PRODUCER]),
    Cast::new(&[PRODUCER, CONSUMER], &[]),
];

pub(crate) const TYPED_RESULTS: Scenario = Scenario {
    name: "typed-results",
    about: "a typed ring that keeps unread records; either end dies, or both",
    roles: &[
        PRODUCING,
        consuming(|seat| boxed(RecordConsumer::join(seat, OnRestart::Keep))),
    ],
    casts: CASTS,
    shapes: &[2, 8, LARGE],
    layout: |shape| {
        let len = TypedRing::<Record>::segment_len(shape as usize);
        Layout::with_object(Kind::TYPED_RING, len, ring_ledger::account_len(PRODUCERS))
    },
    starts: |shape| match shape {
        LARGE => 4,
        _ => 16,
    },
    prepare,
    audits_each_death: false,
    audit: |scene, actors, _| {
        let ledger = drain(scene, actors)?;
        ensure_complete(ledger)
    },
    ..Scenario::BASE
};

pub(crate) const TYPED_COMMANDS: Scenario = Scenario {
    name: "typed-commands",
    about: "a typed ring that discards records for an earlier consumer; either end dies, or both",
    roles: &[
        PRODUCING,
        consuming(|seat| boxed(RecordConsumer::join(seat, OnRestart::Discard))),
    ],
    audit: |scene, actors, _| {
        let ledger = drain(scene, actors)?;
        let found = Inspection::new(scene.memory.object).or_violation("inspecting the ring")?;
        // If a consumer dies after it has counted what it discards, the next one counts the same
        // records again.
        let doubt = (ledger.consumers.get() - 1) * scene.memory.shape;
        ensure_balanced(ledger, found.discarded, doubt)
    },
    ..TYPED_RESULTS
};

const PRODUCING: Role = Role {
    claimed: &[0, 1, 2],
    ..Role::exclusive("producer", producer::OPS, |seat| {
        boxed(RecordProducer::join(seat))
    })
};

const fn consuming(join: Join) -> Role {
    Role {
        claimed: &[0, 1, 2, 3, 4],
        ..Role::exclusive("consumer", consumer::OPS, join)
    }
}

/// An epoch shortly before the wrap.
const EPOCH: usize = 0xfffd;

/// The stamps of a ring in use, four words each.
const STAMPS: [usize; 5] = [
    offset_of!(TypedRingControl, tails),
    offset_of!(TypedRingControl, producer_starts),
    offset_of!(TypedRingControl, heads),
    offset_of!(TypedRingControl, consumer_starts),
    offset_of!(TypedRingControl, positions),
];

/// Brings the smaller rings to every position, with and without unread records, and epochs
/// shortly before their wrap. Fills the largest one with records that are not released yet.
fn prepare(scene: &Scene<'_>, start: u32) -> Outcome {
    let (rounds, unread) = match scene.memory.shape {
        LARGE => (start * 7, 6),
        shape => (start % 8, (start / 8 * 3).min(shape)),
    };
    if start == 0 {
        return Ok(()); // Never used.
    }
    let mut rng = Rng::with_seed(start.into());
    if start % 3 == 2 {
        // The epochs and the positions wrap soon.
        for offset in STAMPS {
            let word = scene.memory.object.word(offset + EPOCH % 4 * 4);
            word.store((EPOCH << 16 | 0xfffe) as u32, Relaxed);
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
