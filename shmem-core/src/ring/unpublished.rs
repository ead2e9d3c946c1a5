//! Records that their producer has not published yet.

use super::error::PushError;
use super::memory::Ring;
use super::producer::{Place, Producer};
use crate::mem::Window;

impl<'m> Producer<'m> {
    /// Reserves room for a record of up to `len` bytes, to be written in place.
    ///
    /// # Errors
    ///
    /// As [`Producer::push`].
    pub fn reserve(&mut self, len: usize) -> Result<Reservation<'_, 'm>, PushError> {
        let place = self.find(len, self.tail, self.room)?;
        Ok(Reservation {
            producer: self,
            place,
            len,
        })
    }

    /// Starts a batch: records that one store publishes together.
    pub fn batch(&mut self) -> Batch<'_, 'm> {
        let (end, room) = (self.tail, self.room);
        Batch {
            producer: self,
            first: None,
            end,
            room,
        }
    }
}

/// Room for one record, ours until `commit`. Dropping it discards the record.
#[must_use]
pub struct Reservation<'p, 'm> {
    producer: &'p mut Producer<'m>,
    place: Place,
    len: usize,
}

impl Reservation<'_, '_> {
    /// Returns the reserved length in bytes.
    #[allow(clippy::len_without_is_empty)] // A requested length, not a collection.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Copies `bytes` to `offset` in the record. Does nothing if this end was taken over.
    ///
    /// # Panics
    ///
    /// If they do not fit into the reservation.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) {
        let inside = offset <= self.len && bytes.len() <= self.len - offset;
        assert!(inside, "a write outside the reservation");
        // Otherwise the bytes belong to a successor, and `commit` returns `Evicted`.
        if self.producer.check_owned().is_ok() {
            self.payload().write(offset, bytes);
        }
    }

    /// Returns the address of the record's first byte, for peers that trust each other and
    /// build a record in place.
    ///
    /// Until `commit`, [`Reservation::len`] bytes from there belong to this
    /// producer alone, if the consumer is honest and no incarnation takes over this end.
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.payload().address().as_ptr()
    }

    fn payload(&self) -> Window<'_> {
        let position = Ring::payload(self.place.position);
        self.producer.ring.data.window(position, self.len)
    }

    /// Publishes the first `len` bytes as a record.
    ///
    /// # Errors
    ///
    /// [`PushError::Evicted`] if this end was taken over meanwhile.
    ///
    /// # Panics
    ///
    /// If `len` is more than [`Reservation::len`].
    pub fn commit(self, len: usize) -> Result<(), PushError> {
        assert!(len <= self.len, "a commit longer than the reservation");
        self.payload().finish_raw_stores();
        self.producer.publish(self.place, len)
    }
}

/// Records that become visible together. Dropping it discards all of them.
#[must_use]
pub struct Batch<'p, 'm> {
    producer: &'p mut Producer<'m>,
    /// The record whose header publishes all, and its length.
    first: Option<(Place, usize)>,
    /// Position after the last record.
    end: u32,
    /// As [`Producer::room`], from `end` on.
    room: u32,
}

impl Batch<'_, '_> {
    /// Copies `record` after the others. It is not visible yet.
    ///
    /// # Errors
    ///
    /// As [`Producer::push`]; the records in the batch stay. After
    /// [`PushError::Restarted`] they are still for the consumer before the restart.
    #[cfg_attr(not(feature = "small"), inline(always))]
    pub fn push(&mut self, record: &[u8]) -> Result<(), PushError> {
        // After an error the next push searches again: `fail` resets the producer's room, not
        // this copy.
        let room = core::mem::replace(&mut self.room, self.end);
        let place = self.producer.find(record.len(), self.end, room)?;
        self.room = place.room;
        self.producer.copy_payload(place, record);
        self.end = self.producer.write_inner_header(place, record.len());
        self.producer.fetch_ahead(self.end);
        if self.first.is_none() {
            self.first = Some((place, record.len()));
        } else {
            // Release is stronger than needed here: the first header publishes all.
            self.producer.publish_header(place, record.len());
        }
        Ok(())
    }

    /// Publishes all records of the batch.
    ///
    /// # Errors
    ///
    /// [`PushError::Evicted`] if this end was taken over meanwhile.
    pub fn publish(self) -> Result<(), PushError> {
        self.producer.check_owned()?;
        match self.first {
            Some((place, len)) => {
                self.producer.zero_next_header(self.end);
                self.producer.publish_header(place, len);
                self.producer.advance(self.end, self.room)
            }
            None => Ok(()),
        }
    }
}
