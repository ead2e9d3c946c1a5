//! A party that creates and removes segments.
//!
//! Segments that only one partition creates hold a pattern, which shows if the same bytes are
//! given out twice. No party writes into shared segments, which stay zero.

use fastrand::Rng;
use shmem_core::primitive::Ordering::Acquire;
use shmem_core::primitive::fence;
use shmem_registry::{Id, Kind, OpenError, Registry, RemoveError, Request, Segment};

use super::ids::{ALL, IDS, Ids};
use crate::kit::{
    Incarnation, Observer, OrViolation, Outcome, PARTITIONS, Party, Seat, Step, ensure, unexpected,
};

pub(super) const OPS: &[&str] = &[
    "create",
    "remove",
    "create shared",
    "remove shared",
    "read",
    "reap",
];
pub(super) const CREATE: usize = 0;
pub(super) const REMOVE: usize = 1;
pub(super) const CREATE_SHARED: usize = 2;
pub(super) const REMOVE_SHARED: usize = 3;
pub(super) const REAP: usize = 5;

pub(super) struct SegmentUser<'m> {
    registry: Registry<'m>,
    ids: Ids,
    /// The partition number of the identifiers that we create.
    own: u8,
    us: Incarnation,
    observer: Observer<'m>,
    /// Whether a full registry is a violation.
    roomy: bool,
    /// The segments with our own identifiers.
    held: [Option<Segment<'m>>; IDS as usize],
}

impl<'m> SegmentUser<'m> {
    pub(super) fn join(seat: Seat<'m>, ids: Ids, roomy: bool) -> Outcome<Self> {
        let us = seat.incarnation;
        let evicted = Incarnation::from_word(seat.memory.ledger.evicted().get());
        let own = match evicted.is_some_and(|evicted| us.follows(evicted)) {
            // When the evicted incarnation goes on, its segments may still disappear.
            true => us.partition() + PARTITIONS as u8 / 2,
            false => us.partition(),
        };
        let mut user = Self {
            registry: seat.memory.registry,
            ids,
            own,
            us,
            observer: seat.observer,
            roomy,
            held: [None; IDS as usize],
        };
        for at in 0..IDS {
            user.held[at as usize] = match user.registry.lookup(ids.id(own, at)) {
                Ok(segment) => Some(segment),
                Err(OpenError::NotFound | OpenError::Contended) => None,
                Err(error) => return Err(unexpected("looking an identifier up", error)),
            };
        }
        Ok(user)
    }

    fn create(&mut self, rng: &mut Rng) -> Outcome<Step> {
        let Some(at) = self.held.iter().position(Option::is_none) else {
            return Ok(Step::Idle);
        };
        let id = self.ids.id(self.own, at as u64);
        let request = request(id, rng.usize(1..=3 * self.registry.geometry().block_size))?;
        let segment = match self.registry.open_or_create(self.us, &request) {
            Ok(segment) => segment,
            // An earlier incarnation's segment, if the table was too busy when we joined.
            Err(OpenError::Length { .. }) => return self.find(at, id),
            Err(error) => return self.refused(error),
        };
        let exists = self.registry.is_current(&segment);
        ensure(exists, || format!("{id} was created and does not exist"))?;
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
        match self.registry.remove(self.us, &segment) {
            Ok(()) => {}
            Err(RemoveError::Contended) => return Ok(Step::Idle),
            Err(error) => return Err(unexpected("removing a segment of our own", error)),
        }
        let again = self.registry.remove(self.us, &segment);
        ensure(again == Err(RemoveError::Stale), || {
            format!("removing {id} again returned {again:?}")
        })?;
        let found = self.registry.lookup(id).err();
        ensure(
            matches!(found, Some(OpenError::NotFound | OpenError::Contended)),
            || format!("{id} is still found after it was removed: {found:?}"),
        )?;
        Ok(Step::Done)
    }

    fn create_shared(&mut self, rng: &mut Rng) -> Outcome<Step> {
        let at = rng.u64(0..IDS);
        let request = request(self.ids.id(ALL, at), 128 * (at as usize + 1))?;
        match self.registry.open_or_create(self.us, &request) {
            Ok(segment) => inspect(&self.registry, &segment).map(|()| Step::Done),
            Err(error) => self.refused(error),
        }
    }

    fn remove_shared(&mut self, rng: &mut Rng) -> Outcome<Step> {
        let start = rng.u64(0..IDS);
        for at in 0..IDS {
            let id = self.ids.id(ALL, (start + at) % IDS);
            let Ok(segment) = self.registry.lookup(id) else {
                continue;
            };
            return match self.registry.remove(self.us, &segment) {
                Ok(()) => Ok(Step::Done),
                // Another was faster.
                Err(RemoveError::Stale | RemoveError::Contended) => Ok(Step::Idle),
                Err(error) => Err(unexpected("removing a shared segment", error)),
            };
        }
        Ok(Step::Idle)
    }

    /// Checks that the segments that only we remove are listed and found.
    fn read(&self, rng: &mut Rng) -> Outcome<Step> {
        let mut listed = Vec::new();
        for segment in self.registry.segments() {
            let segment = segment.or_violation("listing the segments")?;
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
        let other = self.ids.id(rng.u8(0..8), rng.u64(0..IDS));
        match self.registry.lookup(other) {
            Ok(segment) => inspect(&self.registry, &segment)?,
            Err(OpenError::NotFound | OpenError::Contended) => {}
            Err(error) => return Err(unexpected("looking an identifier up", error)),
        }
        Ok(Step::Done)
    }

    fn reap(&mut self) -> Outcome<Step> {
        match self.registry.reap(self.us, &mut self.observer) {
            Ok(_) => Ok(Step::Done),
            Err(RemoveError::Contended) => Ok(Step::Idle),
            Err(error) => Err(unexpected("reaping", error)),
        }
    }

    fn refused(&self, error: OpenError) -> Outcome<Step> {
        match error {
            OpenError::Contended => Ok(Step::Idle),
            // Others, also dead ones, use all the space.
            OpenError::OutOfSpace { .. } | OpenError::TableFull { .. } if !self.roomy => {
                Ok(Step::Done)
            }
            error => Err(unexpected("creating a segment", error)),
        }
    }
}

pub(super) fn request(id: Id, len: usize) -> Outcome<Request> {
    Request::new(id, Kind::RAW, len).or_violation("request")
}

fn content(segment: &Segment<'_>) -> Vec<u8> {
    let mut bytes = vec![0; segment.window().len()];
    segment.window().read(0, &mut bytes);
    bytes
}

/// The bytes that the owner of a segment writes into it.
fn pattern(segment: &Segment<'_>) -> Vec<u8> {
    let start = segment.id().get() ^ u64::from(segment.generation()) << 17;
    (0..segment.window().len() as u64 / 8)
        .flat_map(|at| (start + at * 0x0101).to_le_bytes())
        .collect()
}

/// Returns an error if a segment that still exists holds wrong bytes.
pub(super) fn inspect(registry: &Registry<'_>, segment: &Segment<'_>) -> Outcome {
    let bytes = content(segment);
    // The bytes read above count only if the segment still exists below.
    fence(Acquire);
    let pattern = match Ids::partition(segment.id()) {
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

impl Party for SegmentUser<'_> {
    fn perform(&mut self, op: usize, rng: &mut Rng) -> Outcome<Step> {
        match op {
            CREATE => self.create(rng),
            REMOVE => self.remove(),
            CREATE_SHARED => self.create_shared(rng),
            REMOVE_SHARED => self.remove_shared(rng),
            REAP => self.reap(),
            _ => self.read(rng),
        }
    }
}
