//! A registry whose partitions die while they create and remove.

mod audit;
mod ids;
mod user;

use fastrand::Rng;
use shmem_core::mem::Window;
use shmem_registry::{Geometry, Segment};

use crate::kit::{
    Actor, Cast, DYING, Incarnation, Layout, OrViolation, Outcome, PARTITIONS, Role, Scenario,
    Scene, TestMemory, boxed,
};
use audit::RegistryAudit;
use ids::{ALL, IDS, Ids};
use user::{CREATE, CREATE_SHARED, REAP, REMOVE, REMOVE_SHARED, SegmentUser};

/// All identifiers in one bucket.
const CROWDED: u32 = 1;
/// Little more space than is needed.
const TIGHT: u32 = 2;
/// Segments of several pages.
const PAGES: u32 = 4;

/// Word of the account: the free bytes of a fresh registry.
const FREE: usize = 0;

pub(crate) const REGISTRY: Scenario = Scenario {
    name: "registry",
    about: "a registry in which several partitions create, remove and reap, and die",
    roles: &[Role {
        proof: CREATE_SHARED,
        // First without reaping; then with it.
        recovery: &[CREATE_SHARED, REMOVE_SHARED, CREATE, REAP, REMOVE],
        // As many as possible.
        before_return: &[CREATE; IDS as usize],
        ..Role::shared("user", user::OPS, |seat| {
            let shape = seat.memory.shape;
            boxed(SegmentUser::join(seat, ids(shape), is_roomy(shape)))
        })
    }],
    casts: &[Cast::new(&[0, 0], &[0]), Cast::new(&[0, 0, 0], &[0])],
    shapes: &[0, CROWDED, CROWDED | TIGHT],
    stall_shapes: &[0, CROWDED | TIGHT, PAGES | TIGHT],
    layout,
    initialize: |memory| {
        let free = memory.registry.free_bytes() as u32;
        memory.ledger.account(FREE).set(free);
        Ok(())
    },
    starts: |_| 10,
    prepare,
    others_memory,
    describe,
    audit,
    ..Scenario::BASE
};

/// Whether there is space for all segments of all parties, and for what dead ones left.
fn is_roomy(shape: u32) -> bool {
    shape & TIGHT == 0
}

fn ids(shape: u32) -> Ids {
    match shape & CROWDED {
        0 => Ids::spread(),
        _ => Ids::crowded(),
    }
}

fn layout(shape: u32) -> Layout {
    let (segments, blocks) = if is_roomy(shape) { (32, 128) } else { (8, 12) };
    let block_size = if shape & PAGES == 0 { 128 } else { 4096 };
    Layout {
        geometry: Geometry {
            segments,
            partitions: PARTITIONS,
            block_size,
        },
        space: block_size * blocks,
        object: None,
        account: 8,
    }
}

/// Leaves it unused; or makes a chain of three with the victim's in the middle, and dead rows.
fn prepare(scene: &Scene<'_>, start: u32) -> Outcome {
    let mut rng = Rng::with_seed(start.into());
    let mut ours = scene.join(0, Incarnation::first(1))?;
    let mut other = scene.join(0, Incarnation::first(6))?;
    if start == 0 {
        return Ok(());
    }
    other.perform(CREATE, &mut rng)?;
    ours.perform(CREATE, &mut rng)?;
    if start != 1 {
        other.perform(CREATE, &mut rng)?;
    }
    match start {
        3 => drop(ours.perform(REMOVE, &mut rng)?),
        4 => die_removing(scene, 1)?,
        5 => die_removing(scene, 2)?,
        6 => scene.die(0, CREATE, 12)?,
        7 => scene.die(0, CREATE, 16)?,
        8 => {
            for _ in 0..20 {
                ours.perform(REMOVE, &mut rng)?;
                other.perform(CREATE_SHARED, &mut rng)?;
                ours.perform(CREATE, &mut rng)?;
                other.perform(REMOVE_SHARED, &mut rng)?;
            }
        }
        9 => {
            for _ in 0..4 {
                other.perform_each([CREATE, CREATE_SHARED], &mut rng)?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// Lets a party die while it removes a segment of its own.
fn die_removing(scene: &Scene<'_>, at: u64) -> Outcome {
    let mut user = scene.join(0, DYING)?;
    user.perform(CREATE, &mut Rng::with_seed(0))?;
    scene.die(0, REMOVE, at)
}

/// The segments that only partitions other than that of `late` may change.
fn others_memory<'m>(memory: &TestMemory<'m>, late: Incarnation) -> Outcome<Vec<Window<'m>>> {
    let segments: Result<Vec<_>, _> = memory.registry.segments().collect();
    let segments = segments.or_violation("listing the segments")?;
    let is_theirs =
        |segment: &Segment<'_>| ![ALL, late.partition()].contains(&Ids::partition(segment.id()));
    let theirs = segments.into_iter().filter(is_theirs);
    Ok(theirs.map(|segment| segment.window()).collect())
}

fn describe(memory: &TestMemory<'_>) -> String {
    let registry = memory.registry;
    let unfinished: Vec<_> = registry.unfinished().collect();
    let segments = registry.segments().map(|segment| {
        let shown = |s: Segment<'_>| format!("{} at {:#x}, {}", s.id(), s.offset(), s.len());
        segment.map_or_else(|error| error.to_string(), shown)
    });
    let (free, segments) = (registry.free_bytes(), segments.collect::<Vec<_>>());
    format!("{free} bytes are free; unfinished: {unfinished:?}; segments: {segments:?}")
}

fn audit<'m>(scene: &Scene<'m>, _: &mut [&mut Actor<'m>], end: bool) -> Outcome {
    let memory = &scene.memory;
    let audit = RegistryAudit {
        registry: memory.registry,
        ids: ids(memory.shape),
        all: memory.ledger.account(FREE).get() as usize,
        us: Incarnation::first(u8::MAX),
    };
    audit.check(&mut scene.observer.share())?;
    if end { audit.clear() } else { Ok(()) }
}
