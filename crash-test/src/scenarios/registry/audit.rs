//! Checks that the registry is consistent, while no party works on it.

use std::collections::HashSet;

use shmem_registry::{OpenError, Registry, RemoveError, Segment};

use super::ids::{IDS, Ids};
use super::user;
use crate::kit::{Incarnation, Observer, OrViolation, Outcome, ensure};

pub(super) struct RegistryAudit<'m> {
    pub(super) registry: Registry<'m>,
    pub(super) ids: Ids,
    /// Free bytes of the empty registry.
    pub(super) all: usize,
    /// The incarnation that audits.
    pub(super) us: Incarnation,
}

impl<'m> RegistryAudit<'m> {
    /// Reaps what the dead left. Then checks that every byte is free or belongs to a segment, and
    /// that every segment is found.
    pub(super) fn check(&self, observer: &mut Observer<'m>) -> Outcome {
        let is_reaped = |observer: &mut Observer<'m>| {
            let reaped = self.registry.reap(self.us, observer);
            reaped.or_violation("reaping")?;
            Ok(self.registry.unfinished().next().is_none())
        };
        let reaped = observer.retry_until_detected(is_reaped)?;
        ensure(reaped, || {
            let left: Vec<_> = self.registry.unfinished().collect();
            format!("after reaping, {left:?} is left")
        })?;
        let again = self.registry.reap(self.us, observer);
        ensure(again == Ok(0), || {
            format!("reaping again returned {again:?}")
        })?;
        let segments = self.segments()?;
        self.ensure_disjoint(&segments)?;
        self.ensure_found(&segments)
    }

    fn segments(&self) -> Outcome<Vec<Segment<'m>>> {
        let segments: Result<Vec<_>, _> = self.registry.segments().collect();
        segments.or_violation("listing the segments")
    }

    /// Checks that no byte belongs to two segments, and that every other byte is free.
    fn ensure_disjoint(&self, segments: &[Segment<'m>]) -> Outcome {
        let mut places: Vec<_> = segments
            .iter()
            .map(|s| (s.offset(), s.len(), s.id()))
            .collect();
        places.sort_by_key(|place| place.0);
        let block = self.registry.geometry().block_size;
        for pair in places.windows(2) {
            let [(first, len, _), (second, ..)] = pair else {
                continue;
            };
            ensure(first + len.next_multiple_of(block) <= *second, || {
                format!("two segments overlap: {pair:x?}")
            })?;
        }
        let taken: usize = places
            .iter()
            .map(|place| place.1.next_multiple_of(block))
            .sum();
        let free = self.registry.free_bytes();
        ensure(free + taken == self.all, || {
            format!(
                "{free} bytes are free, segments have {taken}: some of {} leaked",
                self.all
            )
        })
    }

    /// Checks that the list and the look-ups agree, and that the segments hold valid bytes.
    fn ensure_found(&self, segments: &[Segment<'m>]) -> Outcome {
        let mut ids = HashSet::new();
        for segment in segments {
            let id = segment.id();
            ensure(ids.insert(id), || format!("{id} is listed twice"))?;
            let found = self.registry.lookup(id).or_violation("a listed segment")?;
            let same = (found.offset(), found.len(), found.generation())
                == (segment.offset(), segment.len(), segment.generation());
            ensure(same && self.registry.is_current(segment), || {
                format!("{id} is listed and found as different segments")
            })?;
            user::inspect(&self.registry, segment)?;
        }
        for partition in 0..Ids::PARTITIONS {
            for id in (0..IDS).map(|at| self.ids.id(partition, at)) {
                let found = self.registry.lookup(id);
                ensure(found.is_ok() == ids.contains(&id), || {
                    format!("{id} is found and not listed")
                })?;
            }
        }
        Ok(())
    }

    /// Removes all segments, and checks that all space can be used again.
    pub(super) fn clear(&self) -> Outcome {
        for segment in self.segments()? {
            let removed = self.registry.remove(self.us, &segment);
            removed.or_violation("removing the last segments")?;
            let again = self.registry.remove(self.us, &segment);
            ensure(again == Err(RemoveError::Stale), || {
                format!("removing a stale segment returned {again:?}")
            })?;
        }
        let free = self.registry.free_bytes();
        let left = self.segments()?.len() + self.registry.unfinished().count();
        ensure(free == self.all && left == 0, || {
            format!(
                "all is removed, {free} of {} bytes are free, {left} rows are not",
                self.all
            )
        })?;
        let whole = user::request(self.ids.id(1, 0), self.all)?;
        let whole = self.registry.open_or_create(self.us, &whole);
        let whole = whole.or_violation("creating a segment of all bytes")?;
        let mut bytes = vec![1; self.all];
        whole.window().read(0, &mut bytes);
        ensure(bytes.iter().all(|&byte| byte == 0), || {
            "a new segment of all bytes is not zero".to_owned()
        })?;
        let removed = self.registry.remove(self.us, &whole);
        removed.or_violation("removing the segment of all bytes")?;
        self.fill()
    }

    /// Checks that every row can be used.
    fn fill(&self) -> Outcome {
        let rows = self.registry.geometry().segments as u64;
        let small = |at| user::request(self.ids.id((at / IDS) as u8, at % IDS), 1);
        for at in 0..rows {
            let made = self.registry.open_or_create(self.us, &small(at)?);
            made.or_violation("using every row")?;
        }
        let over = self.registry.open_or_create(self.us, &small(rows)?).err();
        ensure(matches!(over, Some(OpenError::TableFull { .. })), || {
            format!("one segment more than rows returned {over:?}")
        })
    }
}
