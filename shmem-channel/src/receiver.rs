//! One ring's records, received.

use core::time::Duration;

use shmem_core::ring::{Consumer, OnRestart, PopError, Ring};
use shmem_core::wait::Wait;
use shmem_core::Incarnation;

pub use shmem_core::ring::Record;

use crate::error::Error;
use crate::member::Member;
use crate::platform::{Bell, Reason};
use crate::spin::Spin;
use crate::wait::Waiter;

/// What comes out of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received<T> {
    /// What the peer sent.
    Message(T),
    /// The peer was restarted: what follows is from its new incarnation. Reported once.
    PeerRestarted,
}

/// The receiving end of one ring. Every record that is released wakes the sender, if
/// that waits for room.
pub struct Receiver<'m> {
    consumer: Consumer<'m>,
    member: Member<'m>,
    spin: Spin,
}

impl<'m> Receiver<'m> {
    pub(crate) fn open(
        member: &Member<'m>,
        ring: Ring<'m>,
        unread: OnRestart,
    ) -> Result<Self, Error> {
        let own = member.incarnation;
        let claimed = match ring.consuming() {
            Some(holder) if member.is_over(holder) => ring.take_over_consumer(own, unread),
            _ => ring.consumer(own, unread),
        };
        Ok(Self {
            consumer: claimed.map_err(Error::claim)?,
            member: member.clone(),
            spin: Spin::new(),
        })
    }

    /// The partition that sends, if there is one now.
    pub fn peer(&self) -> Option<Incarnation> {
        self.consumer.ring().producing()
    }

    /// How often this end was opened, with this time.
    pub(crate) fn epoch(&self) -> u32 {
        self.consumer.epoch()
    }

    /// The next record, in place, or a restart of the sender; `None` if there is
    /// neither. A record stays the next until [`Receiver::release`].
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
            Err(error) => Err(failed(member, error)),
        }
    }

    /// Gives the record that was peeked last back to the sender. Does nothing if none was.
    ///
    /// # Errors
    ///
    /// [`Error::Evicted`], [`Error::Reformatted`].
    #[inline]
    pub fn release(&mut self) -> Result<(), Error> {
        let bell = Bell(self.member.platform(), Reason::Room);
        let released = self.consumer.release();
        let released = released.and_then(|()| self.consumer.notify(&bell));
        released
            .map(drop)
            .map_err(|error| failed(&self.member, error))
    }

    /// Copies the next record into the front of `buffer` and releases it; `None` if there
    /// is none now.
    ///
    /// # Errors
    ///
    /// As [`Receiver::peek`]; [`Error::BufferTooShort`]: the record stays.
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

    /// As [`Receiver::try_recv`], and waits for a record up to `timeout`.
    ///
    /// # Errors
    ///
    /// As [`Receiver::try_recv`]; [`Error::TimedOut`].
    pub fn recv(&mut self, buffer: &mut [u8], timeout: Duration) -> Result<Received<usize>, Error> {
        let mut wait = self.waiter(timeout);
        loop {
            if let Some(received) = self.try_recv(buffer)? {
                return Ok(received);
            }
            if wait.is_over() {
                return Err(Error::TimedOut);
            }
            self.wait_part(&mut wait, || false);
        }
    }

    /// Waits up to `timeout` until there is a record, or something to report; the next call
    /// says what. False if there is neither.
    ///
    /// # Errors
    ///
    /// [`Error::Reformatted`].
    pub fn wait_for(&mut self, timeout: Duration) -> Result<bool, Error> {
        let mut wait = self.waiter(timeout);
        loop {
            self.member.check_region()?;
            if !self.is_empty() {
                return Ok(true);
            }
            if wait.is_over() {
                return Ok(false);
            }
            self.wait_part(&mut wait, || false);
        }
    }

    /// A wait of `timeout` that looks as often as was worth it before.
    pub(crate) fn waiter(&self, timeout: Duration) -> Waiter<'m> {
        let platform = self.member.platform.clone();
        Waiter::with_looks(platform, timeout, self.spin.looks())
    }

    /// Waits for a record, or until `other` says true, for a part of `wait`.
    pub(crate) fn wait_part(&mut self, wait: &mut Waiter<'_>, other: impl FnMut() -> bool) {
        let found = self.consumer.wait_or(&mut wait.part(), other);
        self.spin.learn(wait, found);
        if found {
            wait.use_look(); // So that what is found and is nothing does not keep it here.
        }
    }

    /// The same, with a way to wait of the caller's. False if the deadline of `wait` passes
    /// first.
    pub fn wait<W: Wait>(&mut self, wait: &mut W) -> bool {
        self.consumer.wait(wait)
    }

    /// Whether there is nothing to receive or to report now.
    pub fn is_empty(&mut self) -> bool {
        self.consumer.is_empty()
    }

    /// Where the next record is, or will be: a number that counts on modulo 2^32 over all
    /// incarnations of both ends. A receiver that notes it knows again, after its own
    /// death, what it had not released.
    pub fn position(&self) -> u32 {
        self.consumer.position()
    }

    /// Records that were discarded at restarts, by all incarnations of this end; counts on
    /// modulo 2^32.
    pub fn discarded(&self) -> u32 {
        self.consumer.discarded()
    }
}

/// Why the ring refused. That its memory is another by now comes first.
#[cold]
fn failed(member: &Member<'_>, error: PopError) -> Error {
    if let Err(error) = member.check_region() {
        return error;
    }
    match error {
        PopError::Corrupt(corrupt) => Error::Corrupt(corrupt),
        PopError::Evicted => member.evicted(),
        PopError::Restarted => Error::PeerRestarted,
        PopError::Empty => Error::TimedOut,
        PopError::TooLong { len } => Error::BufferTooShort { len },
    }
}
