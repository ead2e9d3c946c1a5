//! One ring's records, sent.

use core::time::Duration;

use shmem_core::ring::{Producer, PushError, Ring};
use shmem_core::wait::Wait;
use shmem_core::Incarnation;

use crate::error::Error;
use crate::member::Member;
use crate::platform::{Bell, Reason};
use crate::wait::Waiter;

/// The sending end of one ring. Every record that is sent wakes the receiver, if that
/// sleeps.
pub struct Sender<'m> {
    producer: Producer<'m>,
    pub(crate) member: Member<'m>,
    /// A restart of the receiver that was learned in a wait, and not reported yet.
    restarted: bool,
}

impl<'m> Sender<'m> {
    pub(crate) fn open(member: &Member<'m>, ring: Ring<'m>) -> Result<Self, Error> {
        let own = member.incarnation;
        let is_over = ring
            .producing()
            .is_some_and(|holder| member.is_over(holder));
        let claimed = match is_over {
            true => ring.take_over_producer(own),
            false => ring.producer(own),
        };
        Ok(Self {
            producer: claimed.map_err(Error::claim)?,
            member: member.clone(),
            restarted: false,
        })
    }

    /// Bytes of the longest record.
    pub fn max_len(&self) -> usize {
        self.producer.ring().max_record()
    }

    /// The partition that receives, if there is one now.
    pub fn peer(&self) -> Option<Incarnation> {
        self.producer.ring().consuming()
    }

    /// Where the next record is sent: a number that counts on modulo 2^32 over all
    /// incarnations of both ends, by 8 for each record or by more.
    pub fn position(&self) -> u32 {
        self.producer.position()
    }

    /// An error if the region was formatted again.
    pub(crate) fn check_region(&self) -> Result<(), Error> {
        self.member.check_region()
    }

    /// Takes note of the receiver that the next record is for: how often that end was
    /// opened; 0 if nobody has opened it yet.
    pub(crate) fn note_receiver(&mut self) -> Result<u32, Error> {
        self.member.check_region()?;
        let noted = self.producer.note_consumer();
        noted.map_err(|error| self.failed(error))
    }

    /// Sends `record`, if there is room now.
    ///
    /// # Errors
    ///
    /// [`Error::Full`]; [`Error::MessageTooLong`]; [`Error::PeerRestarted`], once: the
    /// next record is for the receiver's new incarnation. [`Error::Evicted`],
    /// [`Error::Reformatted`], [`Error::Corrupt`].
    pub fn try_send(&mut self, record: &[u8]) -> Result<(), Error> {
        self.try_with(|producer| producer.push(record))
    }

    /// Publishes a record with `publish`, and wakes the receiver.
    #[inline(always)]
    fn try_with(
        &mut self,
        publish: impl FnOnce(&mut Producer<'m>) -> Result<(), PushError>,
    ) -> Result<(), Error> {
        self.member.check_region()?;
        if core::mem::take(&mut self.restarted) {
            return Err(Error::PeerRestarted);
        }
        publish(&mut self.producer).map_err(|error| self.failed(error))?;
        self.notify()
    }

    /// Wakes the receiver, if it sleeps, for a record or for what was stored elsewhere.
    pub(crate) fn notify(&mut self) -> Result<(), Error> {
        let bell = Bell(self.member.platform(), Reason::Records);
        let notified = self.producer.notify(&bell);
        notified.map(drop).map_err(|error| self.failed(error))
    }

    /// Sends `record`, and waits for room up to `timeout`.
    ///
    /// # Errors
    ///
    /// As [`Sender::try_send`], but [`Error::TimedOut`] for [`Error::Full`];
    /// [`Error::PeerGone`] if the ring is full and nobody is left to make room.
    pub fn send(&mut self, record: &[u8], timeout: Duration) -> Result<(), Error> {
        let mut wait = self.member.waiter(timeout);
        self.send_with(record.len(), &mut wait, |own| own.try_send(record))
    }

    /// The same of a record in two parts.
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

    /// Sends a record of `len` bytes with `try_send` when there is room.
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
            self.wait_for_room(len, &mut wait.part());
            match try_send(self) {
                Err(Error::Full) => {}
                sent => return sent,
            }
            if self.peer().is_some_and(|peer| self.member.is_over(peer)) {
                return Err(Error::PeerGone);
            }
            if wait.is_over() {
                return Err(Error::TimedOut);
            }
        }
    }

    /// Waits until a record of `len` bytes fits, or there is something to report; the
    /// next call says what. False if the deadline of `wait` passes first.
    pub fn wait_for_room<W: Wait>(&mut self, len: usize, wait: &mut W) -> bool {
        match self.producer.wait_for_space(len, wait) {
            Ok(found) => found,
            Err(error) => {
                self.restarted |= error == PushError::Restarted;
                true
            }
        }
    }

    /// Why the ring refused. That its memory is another by now comes first.
    #[cold]
    fn failed(&self, error: PushError) -> Error {
        if let Err(error) = self.member.check_region() {
            return error;
        }
        match error {
            PushError::Full => Error::Full,
            PushError::TooLong { max } => Error::MessageTooLong { max },
            PushError::Restarted => Error::PeerRestarted,
            PushError::Corrupt(corrupt) => Error::Corrupt(corrupt),
            PushError::Evicted => self.member.evicted(),
        }
    }
}
