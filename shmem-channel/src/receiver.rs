//! The receiving end of one ring.

use core::mem::MaybeUninit;
use core::time::Duration;

use shmem_core::ring::{ClaimError, Consumer, OnRestart, PopError, Ring};
use shmem_core::wait::Wait;
use shmem_core::Incarnation;

pub use shmem_core::ring::Record;

use crate::error::Error;
use crate::member::Member;
use crate::platform::{Bell, WakeReason};
use crate::spin::Spin;
use crate::wait::Waiter;

/// A message, or a restart of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received<T> {
    /// A message or record.
    Message(T),
    /// The peer was restarted: what follows is from its new incarnation. Reported once.
    PeerRestarted,
}

/// The receiving end of one ring. Each released record wakes the sender, if the sender waits for
/// room.
pub struct Receiver<'m> {
    consumer: Consumer<'m>,
    member: Member<'m>,
    spin: Spin,
}

impl<'m> Receiver<'m> {
    pub(crate) fn open(
        member: &Member<'m>,
        ring: Ring<'m>,
        on_restart: OnRestart,
    ) -> Result<Self, Error> {
        let consumer = Self::claim(member, ring, on_restart).map_err(Error::claim)?;
        Ok(Self::new(consumer, member))
    }

    /// As [`Receiver::open`]; makes the receiver in `place`.
    pub(crate) fn open_in<'p>(
        place: &'p mut MaybeUninit<Self>,
        member: &Member<'m>,
        ring: Ring<'m>,
        on_restart: OnRestart,
    ) -> Result<&'p mut Self, Error> {
        let consumer = Self::claim(member, ring, on_restart).map_err(Error::claim)?;
        Ok(place.write(Self::new(consumer, member)))
    }

    fn claim(
        member: &Member<'m>,
        ring: Ring<'m>,
        on_restart: OnRestart,
    ) -> Result<Consumer<'m>, ClaimError> {
        let own = member.incarnation;
        match ring.consumer_owner() {
            Some(holder) if member.is_gone(holder) => ring.take_over_consumer(own, on_restart),
            _ => ring.claim_consumer(own, on_restart),
        }
    }

    #[inline(always)]
    fn new(consumer: Consumer<'m>, member: &Member<'m>) -> Self {
        Self {
            consumer,
            member: member.clone(),
            spin: Spin::new(),
        }
    }

    /// Returns the incarnation that has the sending end now, if any.
    pub fn peer(&self) -> Option<Incarnation> {
        self.consumer.ring().producer_owner()
    }

    /// Returns true if the partition that has the sending end is gone. A partition that left has
    /// released its end: then [`Receiver::peer`] returns `None`.
    pub fn sender_is_gone(&self) -> bool {
        self.peer().is_some_and(|peer| self.member.is_gone(peer))
    }

    /// Returns the epoch of this end.
    pub(crate) fn epoch(&self) -> u32 {
        self.consumer.epoch()
    }

    /// Returns the next record, in place, or a restart of the sender; `None` if there is neither.
    /// The record stays the next one until [`Receiver::release`].
    ///
    /// # Errors
    ///
    /// [`Error::Evicted`], [`Error::Reformatted`], [`Error::Corrupt`].
    #[inline]
    pub fn peek(&mut self) -> Result<Option<Received<Record<'_>>>, Error> {
        self.member.check_region()?;
        let member = &self.member;
        match self.consumer.peek() {
            Ok(record) => Ok(Some(Received::Message(record))),
            Err(PopError::Empty) => Ok(None),
            Err(PopError::Restarted) => Ok(Some(Received::PeerRestarted)),
            Err(error) => Err(convert(member, error)),
        }
    }

    /// Gives the space of the record that was peeked last back to the sender. Does nothing if no
    /// record was peeked.
    ///
    /// # Errors
    ///
    /// [`Error::Evicted`], [`Error::Reformatted`].
    #[inline]
    pub fn release(&mut self) -> Result<(), Error> {
        let bell = Bell(self.member.platform(), WakeReason::Space);
        let released = self.consumer.release();
        let released = released.and_then(|()| self.consumer.notify(&bell));
        released
            .map(drop)
            .map_err(|error| convert(&self.member, error))
    }

    /// Copies the next record to the start of `buffer` and releases it; returns `None` if there is
    /// no record now.
    ///
    /// # Errors
    ///
    /// Those of [`Receiver::peek`]; [`Error::BufferTooShort`]: the record stays.
    pub fn try_recv(&mut self, buffer: &mut [u8]) -> Result<Option<Received<usize>>, Error> {
        let len = match self.peek()? {
            None => return Ok(None),
            Some(Received::PeerRestarted) => return Ok(Some(Received::PeerRestarted)),
            Some(Received::Message(record)) if record.len() > buffer.len() => {
                return Err(Error::BufferTooShort { len: record.len() });
            }
            Some(Received::Message(record)) => record.read(0, buffer),
        };
        self.release()?;
        Ok(Some(Received::Message(len)))
    }

    /// Releases the next record without copying it: one that [`Receiver::recv`] returned
    /// [`Error::BufferTooShort`] for. Does nothing if there is no record now.
    ///
    /// # Errors
    ///
    /// Those of [`Receiver::peek`]. [`Error::PeerRestarted`]: nothing was released.
    pub fn skip(&mut self) -> Result<(), Error> {
        match self.peek()? {
            None => Ok(()),
            Some(Received::PeerRestarted) => Err(Error::PeerRestarted),
            Some(Received::Message(_)) => self.release(),
        }
    }

    /// Waits for a record up to `timeout`, copies it to the start of `buffer`, and releases it.
    ///
    /// # Errors
    ///
    /// Those of [`Receiver::try_recv`]; [`Error::TimedOut`].
    pub fn recv(&mut self, buffer: &mut [u8], timeout: Duration) -> Result<Received<usize>, Error> {
        let mut wait = self.waiter(timeout);
        loop {
            if let Some(received) = self.try_recv(buffer)? {
                return Ok(received);
            }
            if wait.is_expired() {
                return Err(Error::TimedOut);
            }
            if !wait.has_checks_left() {
                self.member.check_place()?;
            }
            self.wait_part(&mut wait, || false);
        }
    }

    /// Waits up to `timeout` for a record, or for something to report. Returns true if the next
    /// [`Receiver::try_recv`] or [`Receiver::peek`] will return it, false after `timeout`.
    ///
    /// # Errors
    ///
    /// [`Error::Evicted`], [`Error::Reformatted`].
    pub fn wait_for(&mut self, timeout: Duration) -> Result<bool, Error> {
        let mut wait = self.waiter(timeout);
        loop {
            self.member.check_region()?;
            if !self.is_empty() {
                return Ok(true);
            }
            if wait.is_expired() {
                return Ok(false);
            }
            if !wait.has_checks_left() {
                self.member.check_place()?;
            }
            self.wait_part(&mut wait, || false);
        }
    }

    /// Returns a wait with this timeout, and with as many checks as earlier waits made useful.
    pub(crate) fn waiter(&self, timeout: Duration) -> Waiter<'m> {
        let platform = self.member.platform.clone();
        Waiter::with_checks(platform, timeout, self.spin.checks())
    }

    /// Waits for a part of `wait`: until there is a record, or `other` returns true.
    pub(crate) fn wait_part(&mut self, wait: &mut Waiter<'_>, other: impl FnMut() -> bool) {
        let found = self.consumer.wait_or(&mut wait.part(), other);
        self.spin.adapt(wait, found);
        if found {
            wait.use_check(); // So that false alarms cannot extend the wait.
        }
    }

    /// Waits, using `wait`, for a record or for something to report. Returns false if the deadline
    /// of `wait` passes first.
    pub fn wait<W: Wait>(&mut self, wait: &mut W) -> bool {
        self.consumer.wait(wait)
    }

    /// Returns true if there is nothing to receive or to report now.
    pub fn is_empty(&mut self) -> bool {
        self.consumer.is_empty()
    }

    /// Returns the position of the next record. Positions continue across restarts of both ends,
    /// modulo 2^32. A receiver that stores it elsewhere can tell, after it was restarted, which
    /// records it had not released.
    pub fn position(&self) -> u32 {
        self.consumer.position()
    }

    /// Returns how many records all incarnations of this end discarded at restarts, modulo 2^32.
    pub fn discarded(&self) -> u32 {
        self.consumer.discarded()
    }
}

/// Converts the ring's error. If the region was formatted again, that is the error.
#[cold]
fn convert(member: &Member<'_>, error: PopError) -> Error {
    if let Err(error) = member.check_region() {
        return error;
    }
    match error {
        PopError::Corrupt(corrupt) => Error::Corrupt(corrupt),
        PopError::Evicted => member.evicted(),
        PopError::Restarted => Error::PeerRestarted,
        PopError::Empty => Error::TimedOut,
        PopError::TooLong { len } => Error::BufferTooShort { len: len as usize },
    }
}
