//! Where the next record of a consumer is, and what becomes of those that are not for it.

use super::super::epoch;
use super::super::error::PopError;
use super::super::header::{stride, Header};
use super::state::{Consumer, Unread, DISCARDS};
use crate::error::{ControlWord, Corrupt};
use crate::primitive::Ordering::{Acquire, Relaxed};

/// Where the next record is.
#[derive(Clone, Copy)]
pub(super) struct Found {
    pub(super) position: u32,
    pub(super) len: usize,
}

/// Why a look found no record.
#[derive(Clone, Copy)]
pub(super) enum Miss {
    Empty,
    /// A record that is to be discarded.
    Stale(Found),
    /// The producer's epoch is another, and what was found before it is taken.
    Seam(u32),
    /// The same, but nothing is published: to be looked at again.
    Moved,
    /// The ring is corrupt, or this end was taken over.
    Broken(PopError),
}

impl Consumer<'_> {
    /// Finds the next record that is to be handed out.
    #[inline(always)]
    pub(super) fn next(&mut self) -> Result<Found, PopError> {
        match self.find(self.head) {
            Ok(found) => Ok(found),
            Err(Miss::Empty) => Err(PopError::Empty),
            Err(miss) => self.resolve(miss),
        }
    }

    /// Deals with what an earlier life left.
    #[cold]
    fn resolve(&mut self, mut miss: Miss) -> Result<Found, PopError> {
        for _ in 0..DISCARDS {
            let seam = match miss {
                Miss::Empty => return Err(PopError::Empty),
                Miss::Broken(error) => return Err(error),
                Miss::Stale(found) => {
                    self.discard(found)?;
                    None
                }
                Miss::Seam(peer) => Some(peer),
                Miss::Moved => {
                    // Pairs with the store in `End::take`: behind it, all that
                    // earlier lives published is seen.
                    let peer = self.ring.producer_epoch().load(Acquire); // loom: loom_ring
                    if let Err(corrupt) = self.check(peer) {
                        return Err(self.fail(corrupt));
                    }
                    matches!(self.look(), Err(Miss::Moved)).then_some(peer)
                }
            };
            if let Some(peer) = seam {
                let known = core::mem::replace(&mut self.peer, peer);
                // Whoever is first is nobody's restart.
                if known != 0 {
                    return Err(PopError::Restarted);
                }
            }
            match self.look() {
                Ok(found) => return Ok(found),
                Err(again) => miss = again,
            }
        }
        Err(PopError::Empty)
    }

    /// As [`Consumer::find`] at `head`, where its time does not count: code that many
    /// callers share.
    #[inline(never)]
    pub(super) fn look(&mut self) -> Result<Found, Miss> {
        self.find(self.head)
    }

    /// Passes over a record at `head`, and counts it before that.
    pub(super) fn discard(&mut self, found: Found) -> Result<(), PopError> {
        self.own()?;
        self.discarded = self.discarded.wrapping_add(1);
        // relaxed: the Release of `head` after it publishes it.
        self.ring.discarded().store(self.discarded, Relaxed);
        self.advance(found.end())
    }

    /// Looks for a record at or behind `head`.
    #[cfg_attr(not(feature = "small"), inline(always))]
    #[cfg_attr(feature = "small", inline(never))]
    pub(super) fn find(&mut self, head: u32) -> Result<Found, Miss> {
        if let Some(error) = self.broken {
            return Err(Miss::Broken(error));
        }
        let mut position = head;
        let (mut header, mut stamp) = self.header(position)?;
        if let Header::Padding(padding) = header {
            // R5: behind padding comes the start, where there is none, but a record.
            position = head.wrapping_add(padding);
            (header, stamp) = self.header(position)?;
            if header == Header::Nothing {
                return Err(Miss::Broken(self.fail(Header::corrupt(0))));
            }
        }
        // relaxed: after the header's Acquire it is at least as new as the record (E1); without a
        // record, `resolve` loads it again.
        let peer = self.peer_epoch.load(Relaxed);
        if let Err(error) = self.own() {
            return Err(Miss::Broken(error));
        }
        let Header::Record(len) = header else {
            return Err(self.nothing(peer));
        };
        let found = Found { position, len };
        if stamp == epoch::stamp(self.peer, self.epoch) && peer == self.peer {
            return Ok(found);
        }
        self.judge(found, stamp, peer)
    }

    /// Says what it means that no record is there.
    #[inline(always)]
    fn nothing(&mut self, peer: u32) -> Miss {
        if peer == self.peer {
            return Miss::Empty;
        }
        match self.check(peer) {
            Err(corrupt) => Miss::Broken(self.fail(corrupt)),
            // Whoever is first has nothing to say before its first record.
            Ok(_) if self.peer == 0 => Miss::Empty,
            Ok(_) => Miss::Moved,
        }
    }

    /// Says what becomes of a record that is not from the producer we know for us.
    #[cold]
    fn judge(&mut self, found: Found, stamp: u32, peer: u32) -> Result<Found, Miss> {
        if let Err(corrupt) = self.check(peer) {
            return Err(Miss::Broken(self.fail(corrupt)));
        }
        let theirs = epoch::of_producer(stamp);
        match self.unread {
            Unread::Keep if theirs == self.peer => Ok(found),
            Unread::Keep => Err(Miss::Seam(theirs)),
            Unread::Discard if peer != self.peer => Err(Miss::Seam(peer)),
            Unread::Discard => {
                let ours = epoch::of_consumer(stamp);
                let first = ours == 0 && self.epoch == 1; // E3
                if theirs == peer && (ours == self.epoch || first) {
                    Ok(found)
                } else {
                    Err(Miss::Stale(found))
                }
            }
        }
    }

    /// Holds the producer's epoch against E2.
    fn check(&self, peer: u32) -> Result<u32, Corrupt> {
        epoch::check(ControlWord::ProducerEpoch, peer, self.peer)
    }

    #[inline(always)]
    fn header(&mut self, position: u32) -> Result<(Header, u32), Miss> {
        // Pairs with the store in `Producer::expose`: payload and next header are whole.
        let [word, stamp] = self.ring.data.load_pair(position, Acquire); // loom: loom_ring
        match Header::decode(word, &self.ring, position) {
            Ok(header) => Ok((header, stamp)),
            Err(corrupt) => Err(Miss::Broken(self.fail(corrupt))),
        }
    }
}

impl Found {
    #[inline(always)]
    pub(super) fn end(self) -> u32 {
        self.position.wrapping_add(stride(self.len))
    }
}
