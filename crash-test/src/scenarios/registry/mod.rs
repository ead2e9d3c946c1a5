//! A registry whose partitions die while they create and remove.

mod audit;
mod tenant;

use fastrand::Rng;
use shmem_core::Life;
use shmem_core::mem::Window;
use shmem_registry::{Geometry, Segment};

use super::{DYING, die};
use crate::deaths::Deaths;
use crate::scenario::{Actor, Cast, Layout, Outcome, Role, Scenario, unexpected};
use crate::stage::{PARTITIONS, Stage};
use audit::Audit;
use tenant::{CREATE, CREATE_SHARED, IDS, Naming, REAP, REMOVE, REMOVE_SHARED, Tenant};

const ROLES: &[Role] = &[Role {
    name: "tenant",
    ops: tenant::OPS,
    proof: CREATE_SHARED,
    exclusive: false,
}];

const CASTS: &[Cast] = &[
    Cast {
        victims: &[0, 0],
        survivors: &[0],
    },
    Cast {
        victims: &[0, 0, 0],
        survivors: &[0],
    },
];

/// All identifiers in one bucket.
const CROWDED: u32 = 1;
/// Little more room than what is wanted.
const TIGHT: u32 = 2;

/// Segments of several pages.
const PAGES: u32 = 4;

/// Where a fresh registry's number of free bytes is kept.
const FREE: usize = 0;

pub(super) struct RegistryScenario;

impl RegistryScenario {
    fn geometry(shape: u32) -> Geometry {
        Geometry {
            segments: if shape & TIGHT == 0 { 32 } else { 8 },
            partitions: PARTITIONS,
            block: if shape & PAGES == 0 { 128 } else { 4096 },
        }
    }

    fn tenant<'m>(stage: &Stage<'m>, life: Life, deaths: Deaths<'m>) -> Outcome<Tenant<'m>> {
        let roomy = stage.shape & TIGHT == 0;
        let late = Life::from_word(stage.late().get());
        let own = match late.is_some_and(|late| life.follows(late)) {
            // What the late life had may still go when that one goes on.
            true => life.partition() + PARTITIONS as u8 / 2,
            false => life.partition(),
        };
        let naming = Self::naming(stage);
        Tenant::join(stage.registry, naming, own, roomy, life, deaths)
    }

    fn naming(stage: &Stage<'_>) -> Naming {
        match stage.shape & CROWDED {
            0 => Naming::spread(),
            _ => Naming::crowded(),
        }
    }

    /// Lets a life die that removes a segment of its own.
    fn die_removing<'m>(&self, stage: &Stage<'m>, deaths: &Deaths<'m>, at: u64) -> Outcome {
        let mut tenant = Self::tenant(stage, DYING, deaths.share())?;
        tenant.act(CREATE, &mut Rng::with_seed(0))?;
        die(self, stage, deaths, 0, REMOVE, at)
    }
}

impl Scenario for RegistryScenario {
    fn name(&self) -> &'static str {
        "registry"
    }

    fn about(&self) -> &'static str {
        "a registry in which several partitions create, remove and reap, and die"
    }

    fn roles(&self) -> &'static [Role] {
        ROLES
    }

    fn casts(&self) -> &'static [Cast] {
        CASTS
    }

    fn shapes(&self) -> &'static [u32] {
        &[0, CROWDED, CROWDED | TIGHT]
    }

    fn stall_shapes(&self) -> &'static [u32] {
        &[0, CROWDED | TIGHT, PAGES | TIGHT]
    }

    fn layout(&self, shape: u32) -> Layout {
        Layout {
            geometry: Self::geometry(shape),
            space: Self::geometry(shape).block * if shape & TIGHT == 0 { 128 } else { 12 },
            object: None,
            account: 8,
        }
    }

    fn found(&self, stage: &Stage<'_>) -> Outcome {
        let free = stage.registry.free_len() as u32;
        stage.ledger.account(FREE).set(free);
        Ok(())
    }

    fn starts(&self, _: u32) -> u32 {
        10
    }

    fn prepare<'m>(&self, stage: &Stage<'m>, start: u32, deaths: &Deaths<'m>) -> Outcome {
        let mut rng = Rng::with_seed(start.into());
        let mut ours = Self::tenant(stage, Life::first(1), deaths.share())?;
        let mut other = Self::tenant(stage, Life::first(6), deaths.share())?;
        if start == 0 {
            return Ok(()); // Never used.
        }
        // A chain of three, the middle one the victim's.
        other.act(CREATE, &mut rng)?;
        ours.act(CREATE, &mut rng)?;
        if start != 1 {
            other.act(CREATE, &mut rng)?;
        }
        match start {
            3 => drop(ours.act(REMOVE, &mut rng)?),
            4 => self.die_removing(stage, deaths, 1)?,
            5 => self.die_removing(stage, deaths, 2)?,
            6 => die(self, stage, deaths, 0, CREATE, 12)?,
            7 => die(self, stage, deaths, 0, CREATE, 16)?,
            8 => {
                for _ in 0..20 {
                    ours.act(REMOVE, &mut rng)?;
                    other.act(CREATE_SHARED, &mut rng)?;
                    ours.act(CREATE, &mut rng)?;
                    other.act(REMOVE_SHARED, &mut rng)?;
                }
            }
            9 => {
                for _ in 0..4 {
                    other.act(CREATE, &mut rng)?;
                    other.act(CREATE_SHARED, &mut rng)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn join<'m>(
        &self,
        stage: &Stage<'m>,
        _: usize,
        life: Life,
        deaths: Deaths<'m>,
    ) -> Outcome<Box<dyn Actor + 'm>> {
        Ok(Box::new(Self::tenant(stage, life, deaths)?))
    }

    fn recovery(&self, _: usize) -> Vec<usize> {
        // Without taking anything back first; then with.
        vec![CREATE_SHARED, REMOVE_SHARED, CREATE, REAP, REMOVE]
    }

    /// As much as can be had.
    fn before_return(&self, _: usize) -> Vec<usize> {
        vec![CREATE; IDS as usize]
    }

    fn belongings<'m>(&self, stage: &Stage<'m>, late: Life) -> Outcome<Vec<Window<'m>>> {
        let segments: Result<Vec<_>, _> = stage.registry.segments().collect();
        let segments = segments.map_err(unexpected("listing the segments"))?;
        let is_theirs = |segment: &Segment<'_>| {
            ![tenant::ALL, late.partition()].contains(&Naming::partition(segment.id()))
        };
        let theirs = segments.into_iter().filter(is_theirs);
        Ok(theirs.map(|segment| segment.window()).collect())
    }

    fn describe(&self, stage: &Stage<'_>) -> String {
        let registry = stage.registry;
        let unfinished: Vec<_> = registry.unfinished().collect();
        let segments = registry.segments().map(|segment| {
            let shown = |s: Segment<'_>| format!("{} at {:#x}, {}", s.id(), s.offset(), s.len());
            segment.map_or_else(|error| error.to_string(), shown)
        });
        format!(
            "{} bytes are free; unfinished: {unfinished:?}; segments: {:?}",
            registry.free_len(),
            segments.collect::<Vec<_>>()
        )
    }

    fn audit<'m>(
        &self,
        stage: &Stage<'m>,
        deaths: &Deaths<'m>,
        _: &mut [&mut (dyn Actor + 'm)],
        end: bool,
    ) -> Outcome {
        let audit = Audit {
            registry: stage.registry,
            naming: Self::naming(stage),
            all: stage.ledger.account(FREE).get() as usize,
            life: Life::first(u8::MAX),
        };
        audit.check(&mut deaths.share())?;
        if end { audit.clear() } else { Ok(()) }
    }
}
