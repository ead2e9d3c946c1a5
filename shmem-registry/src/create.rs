//! How a segment is created.
//!
//! A creator owns a row that nobody can see, fills it, and links it at the end
//! of its identifier's chain by one compare-and-swap, which decides the race. The
//! invariants are those of `row` and `chain`; what is left of a creator that dies
//! is what `reap` finds.
//!
//! | dies                         | the table has     | `reap`                          |
//! |------------------------------|-------------------|---------------------------------|
//! | before it owns a row         | what it had       | finds nothing                   |
//! | before it links the row      | what it had       | takes the row and its blocks back |
//! | before it lets go of the row | the segment       | lets go of the row              |

use memoffset::offset_of;

use shmem_core::primitive::Ordering::{Acquire, Relaxed, Release};
use shmem_core::Life;

use crate::alloc::Run;
use crate::chain::{Link, Place};
use crate::error::OpenError;
use crate::id::Request;
use crate::layout::Row;
use crate::row::NAMED;
use crate::segment::Segment;
use crate::table::{check, Registry};

impl<'m> Registry<'m> {
    /// Finds the segment that `request` names, or creates it, zeroed. All
    /// partitions that ask for one identifier get one segment.
    ///
    /// `life` is the caller's: what it leaves half-made if it dies is found by
    /// [`Registry::reap`]. Needs compare-and-swap on this memory.
    ///
    /// # Errors
    ///
    /// As [`Registry::open`] if it exists; [`OpenError::TableFull`] or
    /// [`OpenError::OutOfSpace`] if it cannot be created, [`OpenError::Contended`]
    /// if it might be in a moment, [`OpenError::Evicted`] if `life` was taken for
    /// dead meanwhile, [`OpenError::NoReadModifyWrite`] if this handle is not to create
    /// any: the region is as it was.
    pub fn open_or_create(&self, life: Life, request: &Request) -> Result<Segment<'m>, OpenError> {
        match self.open(request) {
            Err(OpenError::NotFound) if self.may_change => {}
            Err(OpenError::NotFound) => return Err(OpenError::NoReadModifyWrite),
            found => return found,
        }
        // Full, or only while others create: it is known when nothing moved
        // during an attempt.
        match self.create(life, request) {
            Err(OpenError::TableFull { .. } | OpenError::OutOfSpace { .. }) => {}
            done => return done,
        }
        let before = self.settled();
        let error = match self.create(life, request) {
            Err(error @ (OpenError::TableFull { .. } | OpenError::OutOfSpace { .. })) => error,
            done => return done,
        };
        // Our own row came back with its next generation.
        let own = match error {
            OpenError::OutOfSpace { .. } => 1 << 1,
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
    /// while somebody works on one.
    fn settled(&self) -> Option<u32> {
        let mut sum = 0_u32;
        for row in 0..self.places.geometry.segments {
            // An exchange, since a load might still see the 0 from before the row
            // was owned. Pairs with the one in `let_go`: the row is linked.
            let unowned = self.owner(row).compare_exchange(0, 0, Acquire, Relaxed); // loom: loom_registry
            if unowned.is_err() || self.is_abandoned(row) {
                return None;
            }
            sum = sum.wrapping_add(self.state(row).load(Relaxed));
        }
        Some(sum)
    }

    fn create(&self, life: Life, request: &Request) -> Result<Segment<'m>, OpenError> {
        let (row, generation) = self.claim_row(life)?;
        let len = request.len as usize;
        let count = len.div_ceil(self.places.geometry.block);
        let Some(run) = self.blocks().allocate(row, count, request.align) else {
            self.retire(row, life);
            return Err(OpenError::OutOfSpace { len });
        };
        self.prepare(row, generation, run, request);
        match self.insert(row, generation, life, request) {
            Ok(segment) => {
                self.release_row(row, life);
                check(segment, request)
            }
            Err(lost) => {
                self.blocks().free(row, run);
                self.retire(row, life);
                lost.and_then(|segment| check(segment, request))
            }
        }
    }

    /// Fills a row and zeroes its segment (T3). All relaxed: the exchange in
    /// `insert` publishes it, and a reader of an earlier use finds the generation moved.
    fn prepare(&self, row: usize, generation: u32, run: Run, request: &Request) {
        let (low, high) = request.id.halves();
        let store = |field, value| self.row(row, field).store(value, Relaxed);
        store(offset_of!(Row, next), Link::end(generation).0);
        store(offset_of!(Row, kind), request.kind.0);
        store(offset_of!(Row, id_low), low);
        store(offset_of!(Row, id_high), high);
        store(offset_of!(Row, first_block), run.first as u32);
        store(offset_of!(Row, length), request.len);
        let name = self.row_at(row) + offset_of!(Row, name);
        self.memory.write_shared(name, request.name.bytes());
        let block = self.places.geometry.block;
        let data = self.places.data + run.first * block;
        self.memory.zero(data, run.count * block);
        store(offset_of!(Row, state), generation << 1 | NAMED);
    }

    /// Links a prepared row, or says what its identifier had before it.
    fn insert(
        &self,
        row: usize,
        generation: u32,
        life: Life,
        request: &Request,
    ) -> Result<Segment<'m>, Result<Segment<'m>, OpenError>> {
        let ours = Link::to(row, generation);
        let segment = self.segment_of(row, generation).map_err(Err)?;
        // Each turn ends here or found the chain's end moved on; a hostile
        // partition could move it for ever.
        for _ in 0..=self.places.geometry.segments {
            let place = self
                .locate(request.id.get())
                .map_err(|lost| Err(lost.into()))?;
            let (word, end) = match place {
                Place::Found(node) => match self.segment(&node).map_err(Err)? {
                    Some(segment) => return Err(Ok(segment)),
                    None => continue,
                },
                Place::End(word, end) => (word, end),
            };
            if self.owner(row).load(Relaxed) != life.word() {
                return Err(Err(OpenError::Evicted));
            }
            // Release pairs with the loads in `chain`: row and segment are
            // whole. Relaxed on failure: the loser looks again.
            let linked = word.compare_exchange(end.0, ours.0, Release, Relaxed); // loom: loom_registry::a_segment_that_is_found_is_whole
            if linked.is_ok() {
                return Ok(segment);
            }
        }
        Err(Err(OpenError::Contended))
    }
}
