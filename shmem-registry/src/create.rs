//! How a segment is created.
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
//! | store                    | paired load            | hands over           |
//! |--------------------------|------------------------|----------------------|
//! | entry in `install`       | entry in `find`        | a row and its zeroed segment |
//! | `state` in `create`      | `state` in `settled`   | that an entry is installed |
//! | `state` in `abandon_row` | `state` in `claim_row` | a free row           |

use memoffset::offset_of;

use shmem_core::primitive::Ordering::{Acquire, Relaxed, Release};
use shmem_core::Corrupt;

use crate::alloc::Run;
use crate::error::OpenError;
use crate::id::{Id, Request};
use crate::layout::Row;
use crate::segment::Segment;
use crate::table::{check, Entry, Registry};

/// A row's state: generation in bits 16-31, the creator's partition in 8-15, a code in 0-7.
pub(crate) mod state {
    pub(crate) const FREE: u32 = 0;
    pub(crate) const PREPARING: u32 = 1;
    pub(crate) const LIVE: u32 = 2;

    pub(crate) fn code(state: u32) -> u32 {
        state & 0xff
    }

    pub(crate) fn generation(state: u32) -> u32 {
        state >> 16
    }

    pub(crate) fn new(generation: u32, partition: u8, code: u32) -> u32 {
        generation << 16 | u32::from(partition) << 8 | code
    }
}

impl<'m> Registry<'m> {
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
