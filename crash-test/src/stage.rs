//! The memory that a scenario plays in: a region, and beside it the ledger in
//! which lives say what they have done, so that others can be held to it.
//!
//! The ledger is not part of what is tested. Its words are reached as the
//! machine has them, past the counting of stores, and written in an order that
//! leaves no doubt wherever its writer dies.

use shmem_core::mem::Window;
use shmem_core::primitive::AtomicU32;
use shmem_core::primitive::Ordering::{Acquire, Release};
use shmem_core::{Life, Region};
use shmem_registry::{Id, Registry, Request};

use super::scenario::{Layout, Outcome, Scenario, Violation, unexpected};

/// Bytes of the line that each slot has, for the harness and its victims.
const LINE: usize = 64;
/// Partitions that may attach.
pub(super) const PARTITIONS: usize = 16;
/// Word of the session: lives that were killed.
const KILLED: usize = 1;
/// Word of the session: whether a life holds the object that lets go of it later.
const HELD: usize = 3;
/// Word of the session: the life that is taken for gone, and goes on.
const LATE: usize = 5;
/// Word of the session: whether a late life may have left its last step half done.
const SPOILT: usize = 6;
/// Processes that can be told apart.
pub(super) const SLOTS: usize = 8;
/// Bytes in front of the scenario's own account.
const FRONT: usize = LINE * (SLOTS + 1);

/// The object's identifier.
const OBJECT: u64 = 0x6f62_6a65_6374;

/// A word of the ledger. Stored last, it hands over what was stored before.
#[derive(Clone, Copy)]
pub(super) struct Cell<'m>(&'m AtomicU32);

impl<'m> Cell<'m> {
    pub(super) fn get(self) -> u32 {
        self.0.load(Acquire)
    }

    pub(super) fn set(self, value: u32) {
        self.0.store(value, Release);
    }

    pub(super) fn add(self, count: u32) -> u32 {
        self.0.fetch_add(count, std::sync::atomic::Ordering::AcqRel)
    }

    pub(super) fn swap(self, value: u32) -> u32 {
        self.0.swap(value, std::sync::atomic::Ordering::AcqRel)
    }

    pub(super) fn word(self) -> &'m AtomicU32 {
        self.0
    }
}

/// The ledger's words.
#[derive(Clone, Copy)]
pub(super) struct Ledger<'m>(Window<'m>);

impl<'m> Ledger<'m> {
    /// The ledger in `memory`.
    #[cfg(test)]
    pub(super) fn over(memory: Window<'m>) -> Self {
        Self(memory)
    }

    /// Word `at` of the scenario's account.
    pub(super) fn account(self, at: usize) -> Cell<'m> {
        self.cell(FRONT + at * 4)
    }

    /// Words of the scenario's account.
    pub(super) fn account_len(self) -> usize {
        (self.0.len() - FRONT) / 4
    }

    /// Word `at`, of 16, of the harness.
    pub(super) fn session(self, at: usize) -> Cell<'m> {
        self.cell(at * 4)
    }

    /// Word `at`, of 16, of a slot.
    pub(super) fn slot(self, slot: usize, at: usize) -> Cell<'m> {
        assert!(slot < SLOTS, "a slot that is not there");
        self.cell(LINE * (slot + 1) + at * 4)
    }

    fn cell(self, offset: usize) -> Cell<'m> {
        Cell(self.0.word(offset).as_atomic())
    }
}

/// A region with its ledger.
#[derive(Clone, Copy)]
pub(super) struct Stage<'m> {
    pub(super) ledger: Ledger<'m>,
    pub(super) registry: Registry<'m>,
    /// Which size the object has.
    pub(super) shape: u32,
    /// The segment of the object; the whole region where the registry is the object.
    pub(super) object: Window<'m>,
}

/// Bytes of memory for a scenario's object of this shape.
pub(super) fn len(scenario: &dyn Scenario, shape: u32) -> usize {
    let layout = scenario.layout(shape);
    let geometry = layout.geometry;
    let tables = 256 + geometry.partitions * 128 + geometry.segments * (64 + 8);
    let object = layout.object.map_or(0, |(_, len)| len + geometry.block);
    let blocks = (layout.space + object).next_multiple_of(geometry.block);
    let map = blocks / geometry.block * 4 + geometry.block;
    ledger_len(&layout) + (tables + map + blocks).next_multiple_of(128)
}

fn ledger_len(layout: &Layout) -> usize {
    (FRONT + layout.account * 4).next_multiple_of(128)
}

impl<'m> Stage<'m> {
    /// Makes `memory` the stage of a scenario: a region, and the object zeroed.
    pub(super) fn format(memory: Window<'m>, scenario: &dyn Scenario, shape: u32) -> Outcome<Self> {
        let layout = scenario.layout(shape);
        let ledger = ledger_len(&layout);
        memory.zero(0, ledger);
        let region = rest(memory, ledger)?;
        let region = Region::format(region, 0).map_err(unexpected("region"))?;
        let registry = Registry::format(region, layout.geometry).map_err(unexpected("registry"))?;
        if let Some(request) = request(&layout)? {
            // Nobody's who will die.
            let founder = Life::first(u8::MAX);
            let made = registry.open_or_create(founder, &request);
            made.map_err(unexpected("the object"))?;
        }
        Self::over(memory, ledger, region, registry, shape, &layout)
    }

    /// How many lives were killed, each counted before it was.
    pub(super) fn killed(&self) -> Cell<'m> {
        self.ledger.session(KILLED)
    }

    /// Not 0 while a life holds the object that goes on later: then others may wait
    /// in vain.
    pub(super) fn held(&self) -> Cell<'m> {
        self.ledger.session(HELD)
    }

    /// The life that was taken for gone and goes on; 0 if there is none.
    pub(super) fn late(&self) -> Cell<'m> {
        self.ledger.session(LATE)
    }

    /// Not 0 until whoever comes next has repaired what a late life did last, before it
    /// was told.
    pub(super) fn spoilt(&self) -> Cell<'m> {
        self.ledger.session(SPOILT)
    }

    /// The stage that another process made.
    pub(super) fn attach(memory: Window<'m>, scenario: &dyn Scenario, shape: u32) -> Outcome<Self> {
        let layout = scenario.layout(shape);
        let ledger = ledger_len(&layout);
        let region = Region::attach(rest(memory, ledger)?).map_err(unexpected("region"))?;
        let registry = Registry::attach(region).map_err(unexpected("registry"))?;
        Self::over(memory, ledger, region, registry, shape, &layout)
    }

    fn over(
        memory: Window<'m>,
        ledger: usize,
        region: Region<'m>,
        registry: Registry<'m>,
        shape: u32,
        layout: &Layout,
    ) -> Outcome<Self> {
        let object = match request(layout)? {
            Some(request) => registry
                .open(&request)
                .map_err(unexpected("the object"))?
                .window(),
            None => region.memory(),
        };
        let ledger = memory.sub(0, ledger).map_err(unexpected("ledger"))?;
        Ok(Self {
            ledger: Ledger(ledger),
            registry,
            shape,
            object,
        })
    }
}

fn rest(memory: Window<'_>, from: usize) -> Outcome<Window<'_>> {
    let len = memory.len().saturating_sub(from);
    memory.sub(from, len).map_err(unexpected("memory"))
}

fn request(layout: &Layout) -> Outcome<Option<Request>> {
    let Some((kind, len)) = layout.object else {
        return Ok(None);
    };
    let id = Id::new(OBJECT).ok_or(Violation::new("no identifier".to_owned()))?;
    let request = Request::new(id, kind, len).map_err(unexpected("request"))?;
    Ok(Some(request))
}
