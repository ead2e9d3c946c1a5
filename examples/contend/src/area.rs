//! The named segments of the region.

use anyhow::{Context, Result, ensure};
use shmem_core::doorbell::NoDoorbell;
use shmem_core::ring::Ring;
use shmem_core::{Mapping, Region, Window};
use shmem_registry::{Geometry, Kind, Process, Registry, Request};
use shmem_sync::litmus::Litmus;
use shmem_sync::{BakeryMutex, Barrier, Mutex, RwLock, Semaphore};

use crate::cli::{HOST, PARTIES};
use crate::ledger::Counters;
use crate::notes::Notes;

/// Bytes of a ring's data: few, so that both ends wait for each other.
const RING: usize = 1024;
/// The number of permits for which the semaphore has space.
const PERMITS: usize = PARTIES as usize;

/// Gives access to the region's segments.
#[derive(Clone, Copy)]
pub(crate) struct Area<'m>(Registry<'m>);

/// A segment's name, kind and length.
pub(crate) type Named = (String, Kind, usize);

pub(crate) fn mutex() -> Named {
    let len = Mutex::<Counters>::SEGMENT_LEN;
    ("contend.mutex".into(), Kind::MUTEX, len)
}

pub(crate) fn rwlock() -> Named {
    let len = RwLock::<Counters>::SEGMENT_LEN;
    ("contend.rwlock".into(), Kind::RWLOCK, len)
}

pub(crate) fn bakery() -> Named {
    let len = BakeryMutex::<Counters>::SEGMENT_LEN;
    ("contend.bakery".into(), Kind::BAKERY, len)
}

pub(crate) fn semaphore() -> Named {
    let len = Semaphore::segment_len(PERMITS);
    ("contend.semaphore".into(), Kind::SEMAPHORE, len)
}

pub(crate) fn barrier() -> Named {
    let len = Barrier::segment_len(PARTIES);
    ("contend.barrier".into(), Kind::BARRIER, len)
}

/// The segment with the parties' words outside all locks.
pub(crate) fn notes() -> Named {
    ("contend.notes".into(), Kind::RAW, Notes::LEN)
}

/// The ring from one party to another.
pub(crate) fn ring(from: u8, to: u8) -> Named {
    let name = format!("contend.ring.{from}.{to}");
    (name, Kind::RING, Ring::segment_len(RING))
}

/// The segment in which the party `asker` tests the memory with another one.
pub(crate) fn litmus(asker: u8) -> Named {
    let name = format!("contend.litmus.{asker}");
    (name, Kind::LITMUS, Litmus::segment_len())
}

/// All segments.
fn all() -> Vec<Named> {
    let mut all = vec![mutex(), rwlock(), bakery(), semaphore(), barrier(), notes()];
    for party in (1..=PARTIES).filter(|&party| party != HOST) {
        all.extend([ring(HOST, party), ring(party, HOST)]);
    }
    all.extend((1..=PARTIES).map(litmus));
    all
}

impl<'m> Area<'m> {
    pub(crate) fn new(registry: Registry<'m>) -> Self {
        Self(registry)
    }

    pub(crate) fn registry(self) -> Registry<'m> {
        self.0
    }

    /// Finds a segment. It only loads, so it also works in memory without compare-and-swap.
    pub(crate) fn open(self, (name, kind, len): Named) -> Result<Window<'m>> {
        let segment = self.0.open(&Request::named(&name, kind, len)?);
        Ok(segment
            .with_context(|| format!("cannot open {name}"))?
            .window())
    }

    /// Opens the parties' words.
    pub(crate) fn open_notes(self) -> Result<Notes<'m>> {
        self.open(notes()).map(Notes::new)
    }
}

/// Formats the memory as a region with every segment, so that no other party must create one.
pub(crate) fn prepare(mapping: &Mapping, permits: u8, again: bool) -> Result<()> {
    let memory = mapping.window();
    ensure!(
        again || Region::attach(memory).is_err(),
        "the memory is already a region: if no party uses it, give --again"
    );
    let region = Region::format(memory)?;
    let registry = Registry::format(region, Geometry::default())?;
    let attachment = registry.attach_partition(HOST, Process::UNKNOWN)?;
    for (name, kind, len) in all() {
        let request = Request::named(&name, kind, len)?;
        let created = registry.open_or_create(attachment.incarnation(), &request);
        created.with_context(|| format!("cannot create {name}"))?;
    }
    let words = Area::new(registry).open(semaphore())?;
    Semaphore::attach(words, attachment.incarnation(), &NoDoorbell)?.add(permits.into())?;
    Ok(())
}
