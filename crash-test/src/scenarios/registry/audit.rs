//! The registry held against itself, while nobody works on it.

use std::collections::HashSet;

use shmem_registry::{OpenError, Registry, RemoveError, Segment};

use super::ids::{IDS, Ids};
use super::user;
use crate::kit::{Incarnation, Observer, OrViolation, Outcome, ensure};

pub(super) struct RegistryAudit<'m> {
    pub(super) registry: Registry<'m>,
    pub(super) ids: Ids,
    /// Bytes that were free when there was nothing.
    pub(super) all: usize,
    /// Who audits.
    pub(super) us: Incarnation,
}

impl<'m> RegistryAudit<'m> {
    /// Takes back what the dead left; then every byte is free or a segment's, and
    /// every segment is found.
    pub(super) fn check(&self, observer: &mut Observer<'m>) -> Outcome {
        let is_reaped = |observer: &mut Observer<'m>| {
            let reaped = self.registry.reap(self.us, observer);
            reaped.or_violation("reaping")?;
            Ok(self.registry.unfinished().next().is_none())
        };
        let reaped = observer.until_known(is_reaped)?;
        ensure(reaped, || {
            let left: Vec<_> = self.registry.unfinished().collect();
            format!("after reaping there is still {left:?}")
        })?;
        let again = self.registry.reap(self.us, observer);
        ensure(again == Ok(0), || format!("reaping again gave {again:?}"))?;
        let segments = self.segments()?;
        self.ensure_disjoint(&segments)?;
        self.ensure_found(&segments)
    }

    fn segments(&self) -> Outcome<Vec<Segment<'m>>> {
        let segments: Result<Vec<_>, _> = self.registry.segments().collect();
        segments.or_violation("listing the segments")
    }

    /// No byte is two segments', or nobody's and not free.
    fn ensure_disjoint(&self, segments: &[Segment<'m>]) -> Outcome {
        let mut places: Vec<_> = segments
            .iter()
            .map(|s| (s.offset(), s.len(), s.id()))
            .collect();
        places.sort_by_key(|place| place.0);
        let block = self.registry.geometry().block;
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
        let free = self.registry.free_len();
        ensure(free + taken == self.all, || {
            format!(
                "{free} bytes are free, segments have {taken}: of {} some leaked",
                self.all
            )
        })
    }

    /// The list and the look-ups say the same, and the segments hold what they may.
    fn ensure_found(&self, segments: &[Segment<'m>]) -> Outcome {
        let mut ids = HashSet::new();
        for segment in segments {
            let id = segment.id();
            ensure(ids.insert(id), || format!("{id} is there twice"))?;
            let found = self.registry.lookup(id).or_violation("a listed segment")?;
            let same = (found.offset(), found.len(), found.generation())
                == (segment.offset(), segment.len(), segment.generation());
            ensure(same && self.registry.is_current(segment), || {
                format!("{id} is listed and found, but not as the same")
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

    /// Everything can be removed, and then everything can be had again.
    pub(super) fn clear(&self) -> Outcome {
        for segment in self.segments()? {
            let removed = self.registry.remove(self.us, &segment);
            removed.or_violation("removing the last segments")?;
            let again = self.registry.remove(self.us, &segment);
            ensure(again == Err(RemoveError::Stale), || {
                format!("a stale segment was removed: {again:?}")
            })?;
        }
        let free = self.registry.free_len();
        let left = self.segments()?.len() + self.registry.unfinished().count();
        ensure(free == self.all && left == 0, || {
            format!(
                "all is removed, and {free} of {} bytes are free, {left} rows not",
                self.all
            )
        })?;
        let whole = user::request(self.ids.id(1, 0), self.all)?;
        let whole = self.registry.open_or_create(self.us, &whole);
        let whole = whole.or_violation("having all bytes in one piece")?;
        let mut bytes = vec![1; self.all];
        whole.window().read(0, &mut bytes);
        ensure(bytes.iter().all(|&byte| byte == 0), || {
            "a new segment of all bytes is not zero".to_owned()
        })?;
        let removed = self.registry.remove(self.us, &whole);
        removed.or_violation("removing the whole")?;
        self.fill()
    }

    /// Every row can be used.
    fn fill(&self) -> Outcome {
        let rows = self.registry.geometry().segments as u64;
        let small = |at| user::request(self.ids.id((at / IDS) as u8, at % IDS), 1);
        for at in 0..rows {
            let made = self.registry.open_or_create(self.us, &small(at)?);
            made.or_violation("using every row")?;
        }
        let over = self.registry.open_or_create(self.us, &small(rows)?).err();
        ensure(matches!(over, Some(OpenError::TableFull { .. })), || {
            format!("one more than all rows gave {over:?}")
        })
    }
}
