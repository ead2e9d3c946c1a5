//! A life that creates and removes segments.
//!
//! Each partition has identifiers of its own, which nobody else creates or
//! removes: their segments hold a pattern, so that a window that is handed out
//! twice shows. The shared identifiers are everybody's: nobody writes into their
//! segments, which stay zero.

use std::sync::{LazyLock, OnceLock};

use fastrand::Rng;
use shmem_core::Life;
use shmem_core::primitive::Ordering::Acquire;
use shmem_core::primitive::fence;
use shmem_registry::{Id, Kind, OpenError, Registry, RemoveError, Request, Segment};

use crate::deaths::Deaths;
use crate::scenario::{Actor, Outcome, Step, ensure, unexpected};

pub(super) const OPS: &[&str] = &[
    "create",
    "remove",
    "create shared",
    "remove shared",
    "look",
    "reap",
];
pub(super) const CREATE: usize = 0;
pub(super) const REMOVE: usize = 1;
pub(super) const CREATE_SHARED: usize = 2;
pub(super) const REMOVE_SHARED: usize = 3;
pub(super) const REAP: usize = 5;

/// Identifiers of each partition, and of all together.
pub(super) const IDS: u64 = 3;

/// The number that stands for all partitions together.
pub(super) const ALL: u8 = 0;

/// The identifiers of all partitions.
#[derive(Clone, Copy)]
pub(super) struct Naming(&'static [Id]);

impl Naming {
    /// Partitions with identifiers of their own, and [`ALL`].
    pub(super) const PARTITIONS: u8 = 17;

    /// Identifiers as they come.
    pub(super) fn spread() -> Self {
        static IDS: LazyLock<Vec<Id>> = LazyLock::new(|| Naming::choose(|_| true));
        Self(&IDS)
    }

    /// Identifiers that are all in one bucket, for any number of buckets up to 2^8.
    pub(super) fn crowded() -> Self {
        // `docs/layout.md`, Index.
        let hash = |id: u64| id.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        static IDS: OnceLock<Vec<Id>> = OnceLock::new();
        Self(IDS.get_or_init(|| Naming::choose(|id| hash(id) >> 56 == 0)))
    }

    fn choose(fits: impl Fn(u64) -> bool) -> Vec<Id> {
        let fronts = (0..u64::from(Self::PARTITIONS) * IDS).map(|at| {
            let (partition, at) = (at / IDS, at % IDS);
            partition << 40 | at << 32
        });
        let first = |front: u64| (front + 1..).find(|&id| fits(id)).and_then(Id::new);
        fronts.filter_map(first).collect()
    }

    /// Identifier number `at` of a partition.
    pub(super) fn id(self, partition: u8, at: u64) -> Id {
        self.0[(u64::from(partition) * IDS + at) as usize]
    }

    /// Whose identifier it is.
    pub(super) fn partition(id: Id) -> u8 {
        (id.get() >> 40) as u8
    }
}

pub(super) struct Tenant<'m> {
    pub(super) registry: Registry<'m>,
    pub(super) naming: Naming,
    /// Whose identifiers we create.
    own: u8,
    pub(super) life: Life,
    pub(super) deaths: Deaths<'m>,
    /// Whether there is room for all that everybody wants, and for what some dead left.
    pub(super) roomy: bool,
    /// The segments of our own identifiers.
    held: [Option<Segment<'m>>; IDS as usize],
}

impl<'m> Tenant<'m> {
    pub(super) fn join(
        registry: Registry<'m>,
        naming: Naming,
        own: u8,
        roomy: bool,
        life: Life,
        deaths: Deaths<'m>,
    ) -> Outcome<Self> {
        let mut tenant = Self {
            registry,
            naming,
            own,
            life,
            deaths,
            roomy,
            held: [None; IDS as usize],
        };
        for at in 0..IDS {
            let id = naming.id(own, at);
            tenant.held[at as usize] = match registry.lookup(id) {
                Ok(segment) => Some(segment),
                Err(OpenError::NotFound | OpenError::Contended) => None,
                Err(error) => return Err(unexpected("looking an identifier up")(error)),
            };
        }
        Ok(tenant)
    }

    fn create(&mut self, rng: &mut Rng) -> Outcome<Step> {
        let Some(at) = self.held.iter().position(Option::is_none) else {
            return Ok(Step::Idle);
        };
        let id = self.naming.id(self.own, at as u64);
        let request = request(id, rng.usize(1..=3 * self.registry.geometry().block))?;
        let segment = match self.registry.open_or_create(self.life, &request) {
            Ok(segment) => segment,
            // An earlier life's, if the table was too busy when we joined.
            Err(OpenError::Length { .. }) => return self.find(at, id),
            Err(error) => return self.refused(error),
        };
        let there = self.registry.is_current(&segment);
        ensure(there, || format!("{id} was created and is not there"))?;
        let bytes = content(&segment);
        ensure(bytes.iter().all(|&byte| byte == 0), || {
            format!("a new segment is not zero: {}", shown(&segment, &bytes))
        })?;
        segment.window().write(0, &pattern(&segment));
        self.held[at] = Some(segment);
        Ok(Step::Done)
    }

    fn find(&mut self, at: usize, id: Id) -> Outcome<Step> {
        self.held[at] = self.registry.lookup(id).ok();
        Ok(Step::Idle)
    }

    fn remove(&mut self) -> Outcome<Step> {
        let Some(segment) = self.held.iter_mut().find_map(Option::take) else {
            return Ok(Step::Idle);
        };
        inspect(&self.registry, &segment)?;
        let id = segment.id();
        match self.registry.remove(self.life, &segment) {
            Ok(()) => {}
            Err(RemoveError::Contended) => return Ok(Step::Idle),
            Err(error) => return Err(unexpected("removing a segment of our own")(error)),
        }
        let again = self.registry.remove(self.life, &segment);
        ensure(again == Err(RemoveError::Stale), || {
            format!("removing {id} once more gave {again:?}")
        })?;
        let found = self.registry.lookup(id).err();
        ensure(
            matches!(found, Some(OpenError::NotFound | OpenError::Contended)),
            || format!("{id} is still there after it was removed: {found:?}"),
        )?;
        Ok(Step::Done)
    }

    fn create_shared(&mut self, rng: &mut Rng) -> Outcome<Step> {
        let at = rng.u64(0..IDS);
        let request = request(self.naming.id(ALL, at), 128 * (at as usize + 1))?;
        match self.registry.open_or_create(self.life, &request) {
            Ok(segment) => inspect(&self.registry, &segment).map(|()| Step::Done),
            Err(error) => self.refused(error),
        }
    }

    fn remove_shared(&mut self, rng: &mut Rng) -> Outcome<Step> {
        let start = rng.u64(0..IDS);
        for at in 0..IDS {
            let id = self.naming.id(ALL, (start + at) % IDS);
            let Ok(segment) = self.registry.lookup(id) else {
                continue;
            };
            return match self.registry.remove(self.life, &segment) {
                Ok(()) => Ok(Step::Done),
                // Another was faster.
                Err(RemoveError::Stale | RemoveError::Contended) => Ok(Step::Idle),
                Err(error) => Err(unexpected("removing a shared segment")(error)),
            };
        }
        Ok(Step::Idle)
    }

    /// What only we remove is listed and found, whatever others do meanwhile.
    fn look(&self, rng: &mut Rng) -> Outcome<Step> {
        let mut listed = Vec::new();
        for segment in self.registry.segments() {
            let segment = segment.map_err(unexpected("listing the segments"))?;
            inspect(&self.registry, &segment)?;
            listed.push(segment.id());
        }
        for segment in self.held.iter().flatten() {
            let id = segment.id();
            ensure(listed.contains(&id), || format!("{id} is not listed"))?;
            let found = match self.registry.lookup(id) {
                Ok(found) => self.registry.is_current(&found),
                Err(error) => error == OpenError::Contended,
            };
            ensure(found, || format!("{id} is not found"))?;
        }
        let other = self.naming.id(rng.u8(0..8), rng.u64(0..IDS));
        match self.registry.lookup(other) {
            Ok(segment) => inspect(&self.registry, &segment)?,
            Err(OpenError::NotFound | OpenError::Contended) => {}
            Err(error) => return Err(unexpected("looking an identifier up")(error)),
        }
        Ok(Step::Done)
    }

    fn reap(&mut self) -> Outcome<Step> {
        match self.registry.reap(self.life, &mut self.deaths) {
            Ok(_) => Ok(Step::Done),
            Err(RemoveError::Contended) => Ok(Step::Idle),
            Err(error) => Err(unexpected("reaping")(error)),
        }
    }

    fn refused(&self, error: OpenError) -> Outcome<Step> {
        match error {
            OpenError::Contended => Ok(Step::Idle),
            // Others, dead ones too, have all there is: an answer like any other.
            OpenError::OutOfSpace { .. } | OpenError::TableFull { .. } if !self.roomy => {
                Ok(Step::Done)
            }
            error => Err(unexpected("creating a segment")(error)),
        }
    }
}

pub(super) fn request(id: Id, len: usize) -> Outcome<Request> {
    Request::new(id, Kind::RAW, len).map_err(unexpected("request"))
}

fn content(segment: &Segment<'_>) -> Vec<u8> {
    let mut bytes = vec![0; segment.window().len()];
    segment.window().read(0, &mut bytes);
    bytes
}

/// What the owner of a segment of its own writes into it.
fn pattern(segment: &Segment<'_>) -> Vec<u8> {
    let start = segment.id().get() ^ u64::from(segment.generation()) << 17;
    (0..segment.window().len() as u64 / 8)
        .flat_map(|at| (start + at * 0x0101).to_le_bytes())
        .collect()
}

/// An error if a segment that is still there holds what it may not.
pub(super) fn inspect(registry: &Registry<'_>, segment: &Segment<'_>) -> Outcome {
    let bytes = content(segment);
    // What was read above counts if the segment is still there below.
    fence(Acquire);
    let pattern = match Naming::partition(segment.id()) {
        ALL => Vec::new(),
        _ => pattern(segment),
    };
    let expected = pattern.chunks(8).chain(std::iter::repeat(&[0; 8][..]));
    let zero = |found: &[u8]| found.iter().all(|&byte| byte == 0);
    let whole = bytes
        .chunks(8)
        .zip(expected)
        .all(|(found, expected)| zero(found) || found == expected);
    ensure(whole || !registry.is_current(segment), || {
        format!(
            "a segment holds another's bytes: {}",
            shown(segment, &bytes)
        )
    })
}

fn shown(segment: &Segment<'_>, bytes: &[u8]) -> String {
    format!(
        "{} in generation {}, {} bytes at {:#x}: {:02x?}",
        segment.id(),
        segment.generation(),
        segment.len(),
        segment.offset(),
        &bytes[..bytes.len().min(64)]
    )
}

impl Actor for Tenant<'_> {
    fn act(&mut self, op: usize, rng: &mut Rng) -> Outcome<Step> {
        match op {
            CREATE => self.create(rng),
            REMOVE => self.remove(),
            CREATE_SHARED => self.create_shared(rng),
            REMOVE_SHARED => self.remove_shared(rng),
            REAP => self.reap(),
            _ => self.look(rng),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_identifier_is_another_and_says_whose_it_is() {
        for naming in [Naming::spread(), Naming::crowded()] {
            let mut ids = HashSet::new();
            for partition in 0..Naming::PARTITIONS {
                for at in 0..IDS {
                    let id = naming.id(partition, at);
                    assert_eq!(Naming::partition(id), partition);
                    assert!(ids.insert(id));
                }
            }
        }
    }
}
