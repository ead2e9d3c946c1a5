//! The memory of a scenario: a region with the object under test, and the ledger.

use shmem_core::Region;
use shmem_core::mem::Window;
use shmem_registry::{Geometry, Id, Kind, Registry, Request};

use crate::incarnation::Incarnation;
use crate::ledger::Ledger;
use crate::verdict::{OrViolation, Outcome, Violation};

/// Partitions that may attach.
pub(crate) const PARTITIONS: usize = 16;

/// The object's identifier.
const OBJECT: u64 = 0x6f62_6a65_6374;

/// Where a scenario's object lies.
pub(crate) struct Layout {
    pub(crate) geometry: Geometry,
    /// Bytes for segments.
    pub(crate) space: usize,
    /// The segment that holds the object; `None` if the registry is the object.
    pub(crate) object: Option<(Kind, usize)>,
    /// Words of the scenario's account in the ledger.
    pub(crate) account: usize,
}

impl Layout {
    /// A registry for one object and the partitions of a scenario.
    pub(crate) const SMALL: Geometry = Geometry {
        segments: 2,
        partitions: PARTITIONS,
        block_size: 128,
    };

    /// One object of `len` bytes in a small registry.
    pub(crate) fn with_object(kind: Kind, len: usize, account: usize) -> Self {
        Self {
            geometry: Self::SMALL,
            space: 0,
            object: Some((kind, len)),
            account,
        }
    }

    /// Bytes of memory.
    pub(crate) fn len(&self) -> usize {
        let geometry = self.geometry;
        let tables = 256 + geometry.partitions * 128 + geometry.segments * (64 + 8);
        let object = self.object.map_or(0, |(_, len)| len + geometry.block_size);
        let blocks = (self.space + object).next_multiple_of(geometry.block_size);
        let map = blocks / geometry.block_size * 4 + geometry.block_size;
        Ledger::len(self.account) + (tables + map + blocks).next_multiple_of(128)
    }

    fn request(&self) -> Outcome<Option<Request>> {
        let Some((kind, len)) = self.object else {
            return Ok(None);
        };
        let id = Id::new(OBJECT).ok_or(Violation::new("no identifier"))?;
        Request::new(id, kind, len)
            .map(Some)
            .or_violation("request")
    }
}

/// A region with its ledger.
#[derive(Clone, Copy)]
pub(crate) struct TestMemory<'m> {
    pub(crate) ledger: Ledger<'m>,
    pub(crate) registry: Registry<'m>,
    /// The size of the object.
    pub(crate) shape: u32,
    /// The segment of the object; the whole region if the registry is the object.
    pub(crate) object: Window<'m>,
}

impl<'m> TestMemory<'m> {
    /// Formats `memory`: a region, with the object zeroed.
    pub(crate) fn format(memory: Window<'m>, layout: &Layout, shape: u32) -> Outcome<Self> {
        memory.zero(0, Ledger::len(layout.account));
        let region = Region::format(region(memory, layout)?).or_violation("region")?;
        let registry = Registry::format(region, layout.geometry).or_violation("registry")?;
        if let Some(request) = layout.request()? {
            // An owner that does not die.
            let founder = Incarnation::first(u8::MAX);
            let made = registry.open_or_create(founder, &request);
            made.or_violation("the object")?;
        }
        Self::open(memory, region, registry, shape, layout)
    }

    /// Attaches to memory that another process formatted.
    pub(crate) fn attach(memory: Window<'m>, layout: &Layout, shape: u32) -> Outcome<Self> {
        let region = Region::attach(region(memory, layout)?).or_violation("region")?;
        let registry = Registry::attach(region).or_violation("registry")?;
        Self::open(memory, region, registry, shape, layout)
    }

    fn open(
        memory: Window<'m>,
        region: Region<'m>,
        registry: Registry<'m>,
        shape: u32,
        layout: &Layout,
    ) -> Outcome<Self> {
        let object = match layout.request()? {
            Some(request) => registry.open(&request).or_violation("the object")?.window(),
            None => region.memory(),
        };
        let ledger = memory.sub(0, Ledger::len(layout.account));
        Ok(Self {
            ledger: Ledger::new(ledger.or_violation("ledger")?),
            registry,
            shape,
            object,
        })
    }

    /// Returns true while others may time out without a violation.
    pub(crate) fn is_held(&self) -> bool {
        self.ledger.held().get() != 0
    }

    /// Returns true if its peers presumed this incarnation gone, and it goes on.
    pub(crate) fn is_evicted(&self, incarnation: Incarnation) -> bool {
        self.ledger.evicted().get() == incarnation.word()
    }
}

/// The part of `memory` after the ledger.
fn region<'m>(memory: Window<'m>, layout: &Layout) -> Outcome<Window<'m>> {
    let from = Ledger::len(layout.account);
    let len = memory.len().saturating_sub(from);
    memory.sub(from, len).or_violation("memory")
}
