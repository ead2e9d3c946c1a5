//! The registry: identifier to segment.
//!
//! A creator prepares a row that nobody can see, then installs the row's
//! number in the index by one compare-and-swap, which decides the race.
//!
//! - **T1** A row is prepared by the partition that claimed it, and does not
//!   change while an index entry names it.
//! - **T2** An entry goes from 0 to one row; an identifier's row is installed in
//!   the first empty entry of its probe sequence, so two racers for one
//!   identifier meet at one entry.
//! - **T3** A segment is zero when its row is installed.
//! - **T4** A row that is named by an entry counts, whatever its state says: a
//!   creator that died right after installing it is no obstacle. One that died
//!   before leaves its row and blocks claimed; nobody waits for them.
//!
//! | store                   | paired load              | hands over           |
//! |-------------------------|--------------------------|----------------------|
//! | entry in `install`      | entry in `find`          | a row and its zeroed segment |
//! | `state` in `create`     | `state` in `settled`     | that an entry is installed |
//! | `state` in `abandon_row` | `state` in `claim_row`   | a free row           |
//!
//! Lookup only loads. Everything loaded is checked against `Places`, which
//! each partition computed for itself; every walk is bounded by the tables.

use memoffset::offset_of;

use shmem_core::mem::Word;
use shmem_core::primitive::Ordering::{Acquire, Relaxed, Release};
use shmem_core::{Corrupt, Region, Window};

use crate::alloc::{Blocks, Run};
use crate::error::{FormatError, OpenError};
use crate::geometry::{Geometry, Places};
use crate::id::{Id, Kind, Name, Request};
use crate::layout::{RegistryHeader, Row, REGISTRY};
use crate::partition::{Partition, Presence};

/// A row's state: generation in bits 16-31, the creator's partition in 8-15, a code in 0-7.
mod state {
    pub(super) const FREE: u32 = 0;
    pub(super) const PREPARING: u32 = 1;
    pub(super) const LIVE: u32 = 2;

    pub(super) fn code(state: u32) -> u32 {
        state & 0xff
    }

    pub(super) fn generation(state: u32) -> u32 {
        state >> 16
    }

    pub(super) fn new(generation: u32, partition: u8, code: u32) -> u32 {
        generation << 16 | u32::from(partition) << 8 | code
    }
}

/// The registry of a region.
#[derive(Clone, Copy)]
pub struct Registry<'m> {
    memory: Window<'m>,
    places: Places,
}

/// A segment that was found or created.
#[derive(Clone, Copy)]
pub struct Segment<'m> {
    window: Window<'m>,
    offset: usize,
    len: usize,
    id: Id,
    kind: Kind,
    name: Name,
    generation: u32,
}

impl<'m> Segment<'m> {
    /// Its bytes, rounded up to a multiple of 8.
    pub fn window(&self) -> Window<'m> {
        self.window
    }

    /// Where it starts, from the region's start.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Bytes that were asked for when it was created.
    #[allow(clippy::len_without_is_empty)] // No segment is empty.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Its identifier.
    pub fn id(&self) -> Id {
        self.id
    }

    /// What it holds.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its name; empty if it was made without one.
    pub fn name(&self) -> Name {
        self.name
    }

    /// How often its row was used before.
    pub fn generation(&self) -> u32 {
        self.generation
    }
}

/// Where an identifier belongs in the index.
enum Entry<'m> {
    /// It is there.
    Found(Segment<'m>),
    /// It is not; this entry is the first empty one.
    Empty(Word<'m>),
}

impl<'m> Registry<'m> {
    /// Makes an empty registry in a region that was just formatted.
    ///
    /// # Errors
    ///
    /// [`FormatError::Geometry`], [`FormatError::TooShort`] or
    /// [`FormatError::Exists`]; the region is as it was.
    pub fn format(region: Region<'m>, geometry: Geometry) -> Result<Self, FormatError> {
        let memory = region.memory();
        let word = geometry.encode()?;
        let places = Places::of(geometry, memory.len())?;
        if Self::geometry_word(&memory).load(Relaxed) != 0 {
            return Err(FormatError::Exists);
        }
        // The tables are zero since the region was formatted, and zero is empty.
        // Relaxed: the word says all by itself, and the zeroes came with the region.
        Self::geometry_word(&memory).store(word, Relaxed);
        Ok(Self { memory, places })
    }

    /// Attaches to the registry of a region.
    ///
    /// # Errors
    ///
    /// [`FormatError::NotFormatted`], [`FormatError::Corrupt`] if its geometry is
    /// none, [`FormatError::TooShort`] if it is not this region's.
    pub fn attach(region: Region<'m>) -> Result<Self, FormatError> {
        let memory = region.memory();
        // Relaxed: as in `format`.
        let value = Self::geometry_word(&memory).load(Relaxed);
        if value == 0 {
            return Err(FormatError::NotFormatted);
        }
        let geometry = Geometry::decode(value).ok_or(FormatError::Corrupt(Corrupt {
            word: "registry geometry",
            value,
        }))?;
        let places = Places::of(geometry, memory.len())?;
        Ok(Self { memory, places })
    }

    fn geometry_word(memory: &Window<'m>) -> Word<'m> {
        memory.word(REGISTRY + offset_of!(RegistryHeader, geometry))
    }

    /// The numbers it was formatted with.
    pub fn geometry(&self) -> Geometry {
        self.places.geometry
    }

    /// Bytes that are free, in whole blocks, not necessarily in one piece.
    pub fn free_len(&self) -> usize {
        self.blocks().free_blocks() * self.places.geometry.block
    }

    /// Announces `partition` to the others, as a new life of it.
    ///
    /// # Errors
    ///
    /// [`OpenError::NoSuchPartition`] if there is no slot for it.
    pub fn attach_partition(&self, partition: u8) -> Result<Presence<'m>, OpenError> {
        self.check_partition(partition)?;
        Ok(Presence::attach(&self.memory, partition))
    }

    /// What is known of `partition`.
    ///
    /// # Errors
    ///
    /// [`OpenError::NoSuchPartition`] if there is no slot for it.
    pub fn partition(&self, partition: u8) -> Result<Partition, OpenError> {
        self.check_partition(partition)?;
        Ok(Partition::look(&self.memory, partition))
    }

    fn check_partition(&self, partition: u8) -> Result<(), OpenError> {
        let number = usize::from(partition);
        if number == 0 || number > self.places.geometry.partitions {
            return Err(OpenError::NoSuchPartition { partition });
        }
        Ok(())
    }

    /// Finds the segment of `id`. Only loads; O(1).
    ///
    /// # Errors
    ///
    /// [`OpenError::NotFound`], or [`OpenError::Corrupt`].
    #[inline]
    pub fn lookup(&self, id: Id) -> Result<Segment<'m>, OpenError> {
        match self.find(id)? {
            Entry::Found(segment) => Ok(segment),
            Entry::Empty(_) => Err(OpenError::NotFound),
        }
    }

    /// Finds the segment that `request` names, of its kind and length. Only loads; O(1).
    ///
    /// # Errors
    ///
    /// [`OpenError::NotFound`]; [`OpenError::Kind`], [`OpenError::Length`] or
    /// [`OpenError::Collision`] if the segment is another than asked for;
    /// [`OpenError::Corrupt`].
    pub fn open(&self, request: &Request) -> Result<Segment<'m>, OpenError> {
        check(self.lookup(request.id)?, request)
    }

    /// Finds the segment that `request` names, or creates it, zeroed. All
    /// partitions that ask for one identifier get one segment.
    ///
    /// Needs compare-and-swap on this memory.
    ///
    /// # Errors
    ///
    /// As [`Registry::open`] if it exists; [`OpenError::TableFull`] or
    /// [`OpenError::OutOfSpace`] if it cannot be created, [`OpenError::Contended`]
    /// if it might be in a moment: the region is as it was.
    pub fn open_or_create(
        &self,
        partition: u8,
        request: &Request,
    ) -> Result<Segment<'m>, OpenError> {
        self.check_partition(partition)?;
        match self.open(request) {
            Err(OpenError::NotFound) => {}
            found => return found,
        }
        // Full, or only while others create: it is known when nothing moved
        // during an attempt.
        match self.create(partition, request) {
            Err(OpenError::TableFull { .. } | OpenError::OutOfSpace { .. }) => {}
            done => return done,
        }
        let before = self.settled();
        let error = match self.create(partition, request) {
            Err(error @ (OpenError::TableFull { .. } | OpenError::OutOfSpace { .. })) => error,
            done => return done,
        };
        // Our own row came back with its next generation.
        let own = match error {
            OpenError::OutOfSpace { .. } => state::new(1, 0, 0),
            _ => 0,
        };
        let unmoved = before.map(|sum| sum.wrapping_add(own));
        let settled = unmoved.is_some() && self.settled() == unmoved;
        match self.open(request) {
            Err(OpenError::NotFound) if settled => Err(error),
            Err(OpenError::NotFound) => Err(OpenError::Contended),
            found => found,
        }
    }

    /// The sum of all rows' states, which no change leaves as it is; `None`
    /// while one is being prepared.
    fn settled(&self) -> Option<u32> {
        let mut sum = 0_u32;
        for row in 0..self.places.geometry.segments {
            // Pairs with the store of `LIVE`: its entry is installed.
            let found = self.row(row, offset_of!(Row, state)).load(Acquire); // loom: loom_registry
            if state::code(found) == state::PREPARING {
                return None;
            }
            sum = sum.wrapping_add(found);
        }
        Some(sum)
    }

    fn create(&self, partition: u8, request: &Request) -> Result<Segment<'m>, OpenError> {
        let (row, generation) = self.claim_row(partition, request.id)?;
        let len = request.len as usize;
        let count = len.div_ceil(self.places.geometry.block);
        let Some(run) = self.blocks().allocate(row, count, request.align) else {
            self.abandon_row(row, generation);
            return Err(OpenError::OutOfSpace { len });
        };
        self.prepare(row, run, request);
        match self.install(row, request.id) {
            Ok(()) => {
                let live = state::new(generation, partition, state::LIVE);
                // Pairs with the load in `settled`: the entry is installed (T4).
                self.row(row, offset_of!(Row, state)).store(live, Release); // loom: loom_registry
                self.open(request)
            }
            Err(lost) => {
                self.blocks().free(run);
                self.abandon_row(row, generation);
                lost.and_then(|segment| check(segment, request))
            }
        }
    }

    /// Every segment there is; one that is created meanwhile may be missing.
    pub fn segments(&self) -> impl Iterator<Item = Result<Segment<'m>, Corrupt>> {
        let registry = *self;
        (0..=self.places.index_mask()).filter_map(move |entry| {
            // Pairs with the exchange in `install`.
            let value = registry.entry(entry).load(Acquire); // loom: none (the same load as in find)
            (value != 0).then(|| {
                let row = registry.row_of(value)?;
                let load = |field| registry.row(row, field).load(Relaxed);
                let high = load(offset_of!(Row, id_high));
                let id = u64::from(high) << 32 | u64::from(load(offset_of!(Row, id_low)));
                let corrupt = Corrupt {
                    word: "row identifier",
                    value: row as u32,
                };
                registry.segment(row, Id::new(id).ok_or(corrupt)?)
            })
        })
    }

    fn blocks(&self) -> Blocks<'m> {
        Blocks::new(self.memory, self.places)
    }

    #[inline]
    fn entry(&self, entry: usize) -> Word<'m> {
        self.memory.word(self.places.index + entry * 4)
    }

    #[inline]
    fn row(&self, row: usize, field: usize) -> Word<'m> {
        self.memory.word(self.row_at(row) + field)
    }

    #[inline]
    fn row_at(&self, row: usize) -> usize {
        self.places.rows + row * core::mem::size_of::<Row>()
    }

    /// First entry of an identifier's probe sequence, and the tag that its entries carry.
    #[inline]
    fn start(&self, id: Id) -> (usize, u32) {
        let hash = id.hash();
        let entry = (hash >> (64 - self.places.index_bits())) as usize;
        (entry, (hash as u32 & 0xff) << 24)
    }

    #[inline]
    fn row_of(&self, entry: u32) -> Result<usize, Corrupt> {
        let row = (entry & 0xff_ffff).wrapping_sub(1) as usize;
        if row >= self.places.geometry.segments {
            return Err(Corrupt {
                word: "index entry",
                value: entry,
            });
        }
        Ok(row)
    }

    /// Walks the probe sequence of `id` to its row or to the first empty entry.
    #[inline]
    fn find(&self, id: Id) -> Result<Entry<'m>, OpenError> {
        let (start, tag) = self.start(id);
        let (low, high) = id.halves();
        let mask = self.places.index_mask();
        let mut last = 0;
        for step in 0..=mask {
            let entry = self.entry((start + step) & mask);
            // Pairs with the exchange in `install`: row and segment are whole.
            let value = entry.load(Acquire); // loom: loom_registry
            if value == 0 {
                return Ok(Entry::Empty(entry));
            }
            last = value;
            if value & 0xff00_0000 != tag {
                continue;
            }
            let row = self.row_of(value).map_err(OpenError::Corrupt)?;
            let is = |field, half| self.row(row, field).load(Relaxed) == half;
            if is(offset_of!(Row, id_low), low) && is(offset_of!(Row, id_high), high) {
                let segment = self.segment(row, id).map_err(OpenError::Corrupt)?;
                return Ok(Entry::Found(segment));
            }
        }
        // Honest partitions fill no more than half.
        Err(OpenError::Corrupt(Corrupt {
            word: "index entry",
            value: last,
        }))
    }

    /// Reads the rest of a row that an entry names and that is `id`'s.
    fn segment(&self, row: usize, id: Id) -> Result<Segment<'m>, Corrupt> {
        let load = |field| self.row(row, field).load(Relaxed);
        let length = load(offset_of!(Row, length));
        let first = load(offset_of!(Row, first_block));
        let block = self.places.geometry.block;
        let offset = self.places.data + (first as usize).min(self.places.blocks) * block;
        let len = length as usize;
        let whole = len.checked_next_multiple_of(8).filter(|&len| len != 0);
        let window = whole.and_then(|len| self.memory.sub(offset, len).ok());
        let window = window.ok_or(Corrupt {
            word: "row length",
            value: length,
        })?;
        let mut name = [0; 32];
        let name_at = self.row_at(row) + offset_of!(Row, name);
        self.memory.read(name_at, &mut name); // T1
        Ok(Segment {
            window,
            offset,
            len,
            id,
            kind: Kind(load(offset_of!(Row, kind))),
            name: Name::from_bytes(name),
            generation: state::generation(load(offset_of!(Row, state))),
        })
    }

    /// Claims a free row and returns its number and generation.
    fn claim_row(&self, partition: u8, id: Id) -> Result<(usize, u32), OpenError> {
        let segments = self.places.geometry.segments;
        let start = self.start(id).0 / 2;
        for step in 0..segments {
            let row = (start + step) & (segments - 1);
            let word = self.row(row, offset_of!(Row, state));
            let found = word.load(Relaxed);
            if state::code(found) != state::FREE {
                continue;
            }
            let generation = state::generation(found);
            let ours = state::new(generation, partition, state::PREPARING);
            // Acquire pairs with the store in `abandon_row`: who had it has let go.
            let claimed = word.compare_exchange(found, ours, Acquire, Relaxed); // loom: loom_registry
            if claimed.is_ok() {
                return Ok((row, generation));
            }
        }
        Err(OpenError::TableFull { segments })
    }

    /// Gives a claimed row back.
    fn abandon_row(&self, row: usize, generation: u32) {
        let free = state::new(generation.wrapping_add(1) & 0xffff, 0, state::FREE);
        // Release pairs with the exchange in `claim_row`: we have let go.
        self.row(row, offset_of!(Row, state)).store(free, Release); // loom: loom_registry
    }

    /// Fills a claimed row and zeroes its segment (T1, T3). All relaxed: the
    /// exchange in `install` publishes it.
    fn prepare(&self, row: usize, run: Run, request: &Request) {
        let (low, high) = request.id.halves();
        let store = |field, value| self.row(row, field).store(value, Relaxed);
        store(offset_of!(Row, kind), request.kind.0);
        store(offset_of!(Row, id_low), low);
        store(offset_of!(Row, id_high), high);
        store(offset_of!(Row, first_block), run.first as u32);
        store(offset_of!(Row, blocks), run.count as u32);
        store(offset_of!(Row, length), request.len);
        let name = self.row_at(row) + offset_of!(Row, name);
        self.memory.write(name, request.name.bytes());
        let block = self.places.geometry.block;
        let data = self.places.data + run.first * block;
        self.memory.zero(data, run.count * block);
    }

    /// Installs a prepared row, or says what was installed before it.
    fn install(&self, row: usize, id: Id) -> Result<(), Result<Segment<'m>, OpenError>> {
        let (_, tag) = self.start(id);
        let ours = tag | (row as u32 + 1);
        let mut last = 0;
        // Each turn ends here or found an entry filled that was empty: honest
        // partitions never empty one.
        for _ in 0..=self.places.index_mask() {
            match self.find(id).map_err(Err)? {
                Entry::Found(segment) => return Err(Ok(segment)),
                Entry::Empty(entry) => {
                    // Release pairs with the load in `find`: row and segment are
                    // whole. Relaxed on failure: the loser looks with `find`.
                    let installed = entry.compare_exchange(0, ours, Release, Relaxed); // loom: loom_registry
                    match installed {
                        Ok(_) => return Ok(()),
                        Err(found) => last = found,
                    }
                }
            }
        }
        Err(Err(OpenError::Corrupt(Corrupt {
            word: "index entry",
            value: last,
        })))
    }
}

fn check<'m>(segment: Segment<'m>, request: &Request) -> Result<Segment<'m>, OpenError> {
    let named = segment.name != Name::NONE && request.name != Name::NONE;
    if named && segment.name != request.name {
        return Err(OpenError::Collision {
            found: segment.name,
        });
    }
    if segment.kind != request.kind {
        return Err(OpenError::Kind {
            found: segment.kind,
        });
    }
    if segment.len() != request.len as usize {
        return Err(OpenError::Length {
            found: segment.len(),
        });
    }
    Ok(segment)
}
