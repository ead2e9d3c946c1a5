//! The sending end of one ring.

use core::mem::MaybeUninit;
use core::time::Duration;

use shmem_core::ring::{ClaimError, Producer, PushError, Ring};
use shmem_core::wait::Wait;
use shmem_core::Incarnation;

use crate::error::Error;
use crate::member::Member;
use crate::platform::{Bell, WakeReason};
use crate::wait::Waiter;

/// The sending end of one ring. Each sent record wakes the receiver, if the receiver sleeps.
pub struct Sender<'m> {
    producer: Producer<'m>,
    pub(crate) member: Member<'m>,
    /// A restart of the receiver that a wait noticed and no call has reported yet.
    restarted: bool,
}

impl<'m> Sender<'m> {
    pub(crate) fn open(member: &Member<'m>, ring: Ring<'m>) -> Result<Self, Error> {
        let producer = Self::claim(member, ring).map_err(Error::claim)?;
        Ok(Self::new(producer, member))
    }

    /// As [`Sender::open`]; makes the sender in `place`.
    pub(crate) fn open_in<'p>(
        place: &'p mut MaybeUninit<Self>,
        member: &Member<'m>,
        ring: Ring<'m>,
    ) -> Result<&'p mut Self, Error> {
        let producer = Self::claim(member, ring).map_err(Error::claim)?;
        Ok(place.write(Self::new(producer, member)))
    }

    fn claim(member: &Member<'m>, ring: Ring<'m>) -> Result<Producer<'m>, ClaimError> {
        let own = member.incarnation;
        let is_gone = ring
            .producer_owner()
            .is_some_and(|holder| member.is_gone(holder));
        match is_gone {
            true => ring.take_over_producer(own),
            false => ring.claim_producer(own),
        }
    }

    #[inline(always)]
    fn new(producer: Producer<'m>, member: &Member<'m>) -> Self {
        Self {
            producer,
            member: member.clone(),
            restarted: false,
        }
    }

    /// Returns the length in bytes of the longest record.
    pub fn max_len(&self) -> usize {
        self.producer.ring().max_record()
    }

    /// Returns the incarnation that has the receiving end now, if any.
    pub fn peer(&self) -> Option<Incarnation> {
        self.producer.ring().consumer_owner()
    }

    /// Returns the position of the next record. Positions continue across restarts of both ends,
    /// modulo 2^32. Each record adds at least 8.
    pub fn position(&self) -> u32 {
        self.producer.position()
    }

    /// Notes the receiver that the next record is for. Returns the epoch of its end; 0 if no
    /// partition has opened that end yet.
    pub(crate) fn note_receiver(&mut self) -> Result<u32, Error> {
        self.member.check_region()?;
        let noted = self.producer.note_consumer();
        noted.map_err(|error| self.convert(error))
    }

    /// Sends `record`, if there is room now.
    ///
    /// # Errors
    ///
    /// [`Error::Full`]. [`Error::MessageTooLong`]. [`Error::PeerRestarted`], once: the next record
    /// is for the receiver's new incarnation. [`Error::Evicted`], [`Error::Reformatted`],
    /// [`Error::Corrupt`].
    pub fn try_send(&mut self, record: &[u8]) -> Result<(), Error> {
        self.try_with(|producer| producer.push(record))
    }

    /// Calls `publish` to publish a record, and wakes the receiver.
    #[inline(always)]
    fn try_with(
        &mut self,
        publish: impl FnOnce(&mut Producer<'m>) -> Result<(), PushError>,
    ) -> Result<(), Error> {
        self.member.check_region()?;
        if core::mem::take(&mut self.restarted) {
            return Err(Error::PeerRestarted);
        }
        publish(&mut self.producer).map_err(|error| self.convert(error))?;
        self.notify()
    }

    /// Wakes the receiver, if it sleeps, after a store to the ring or to the call line.
    pub(crate) fn notify(&mut self) -> Result<(), Error> {
        let bell = Bell(self.member.platform(), WakeReason::Records);
        let notified = self.producer.notify(&bell);
        notified.map(drop).map_err(|error| self.convert(error))
    }

    /// Sends `record`, and waits for room up to `timeout`.
    ///
    /// # Errors
    ///
    /// Those of [`Sender::try_send`], except that [`Error::TimedOut`] replaces [`Error::Full`].
    /// [`Error::PeerGone`] if the ring is full and the receiver is gone.
    pub fn send(&mut self, record: &[u8], timeout: Duration) -> Result<(), Error> {
        let mut wait = self.member.waiter(timeout);
        self.send_with(record.len(), &mut wait, |own| own.try_send(record))
    }

    /// Sends a record that is given in two parts, and waits for room.
    pub(crate) fn send_parts(
        &mut self,
        [front, back]: [&[u8]; 2],
        wait: &mut Waiter<'m>,
    ) -> Result<(), Error> {
        let len = front.len() + back.len();
        let publish = |producer: &mut Producer<'m>| {
            let mut room = producer.reserve(len)?;
            room.write(0, front);
            room.write(front.len(), back);
            room.commit(len)
        };
        self.send_with(len, wait, |own| own.try_with(publish))
    }

    /// Calls `try_send`, which sends a record of `len` bytes, until there is room.
    fn send_with(
        &mut self,
        len: usize,
        wait: &mut Waiter<'m>,
        mut try_send: impl FnMut(&mut Self) -> Result<(), Error>,
    ) -> Result<(), Error> {
        match try_send(self) {
            Err(Error::Full) => {}
            sent => return sent,
        }
        loop {
            if !wait.has_checks_left() {
                self.member.check_place()?;
            }
            self.wait_for_space(len, &mut wait.part());
            match try_send(self) {
                Err(Error::Full) => {}
                sent => return sent,
            }
            if self.peer().is_some_and(|peer| self.member.is_gone(peer)) {
                return Err(Error::PeerGone);
            }
            if wait.is_expired() {
                return Err(Error::TimedOut);
            }
        }
    }

    /// Waits until a record of `len` bytes fits, or there is something to report: the next call
    /// reports it. Returns false if the deadline of `wait` passes first.
    pub fn wait_for_space<W: Wait>(&mut self, len: usize, wait: &mut W) -> bool {
        match self.producer.wait_for_space(len, wait) {
            Ok(found) => found,
            Err(error) => {
                self.restarted |= error == PushError::Restarted;
                true
            }
        }
    }

    /// Converts the ring's error. If the region was formatted again, that is the error.
    #[cold]
    fn convert(&self, error: PushError) -> Error {
        if let Err(error) = self.member.check_region() {
            return error;
        }
        match error {
            PushError::Full => Error::Full,
            PushError::TooLong { max } => Error::MessageTooLong { max: max as usize },
            PushError::Restarted => Error::PeerRestarted,
            PushError::Corrupt(corrupt) => Error::Corrupt(corrupt),
            PushError::Evicted => self.member.evicted(),
        }
    }
}
