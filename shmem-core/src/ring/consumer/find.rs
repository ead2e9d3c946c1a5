//! How a consumer finds its next record, and discards records that are not for it.

use super::super::epoch;
use super::super::error::PopError;
use super::super::header::{stride, Header};
use super::super::memory::SMALL;
use super::classify::{classify, Class, ConsumerView};
use super::state::{Consumer, Expected, MAX_DISCARDS};
use crate::error::{ControlWord, Corrupt};
use crate::primitive::{
    fence,
    Ordering::{Acquire, Relaxed, Release},
};

/// The place of a record.
#[derive(Clone, Copy)]
pub(super) struct Found {
    pub(super) position: u32,
    /// Bytes of the record.
    pub(super) len: u32,
}

/// Why a search found no record to return.
#[derive(Clone, Copy)]
pub(super) enum NotFound {
    Empty,
    /// The next record must be discarded; it ends at this position.
    Stale(u32),
    /// The producer has a new epoch, and all records of the one before are consumed.
    ProducerRestarted(u32),
    /// The producer has a new epoch and no record is visible: search again.
    RestartedEmpty,
    /// The ring is corrupt, or this end was taken over.
    Terminal(PopError),
}

impl Consumer<'_> {
    /// Finds the next record to return.
    #[cfg_attr(not(feature = "small"), inline(always))]
    #[cfg_attr(feature = "small", inline(never))]
    pub(super) fn next(&mut self) -> Result<Found, PopError> {
        match self.find(self.head) {
            Ok(found) => Ok(found),
            Err(not_found) => self.next_slow(not_found),
        }
    }

    /// Handles restarts, records to discard, and an empty ring.
    #[cold]
    #[cfg_attr(feature = "small", inline(always))]
    fn next_slow(&mut self, mut not_found: NotFound) -> Result<Found, PopError> {
        for _ in 0..MAX_DISCARDS {
            let restarted_by = match not_found {
                NotFound::Empty => return Err(self.sync_and_report_empty()),
                NotFound::Terminal(error) => return Err(error),
                NotFound::Stale(end) => {
                    self.discard(end)?;
                    None
                }
                NotFound::ProducerRestarted(peer) => Some(peer),
                NotFound::RestartedEmpty => {
                    // Pairs with the store in `End::acquire`: after it, all records of
                    // earlier producers are visible.
                    // loom: loom_ring
                    let peer = self.ring.producer_epoch().load(Acquire);
                    if !epoch::is_valid(peer, self.peer) {
                        return Err(self.fail(invalid_epoch(peer)));
                    }
                    matches!(self.find_cold(), Err(NotFound::RestartedEmpty)).then_some(peer)
                }
            };
            if let Some(peer) = restarted_by {
                let known = self.note_epoch(peer);
                // The first producer is not a restart.
                if known != 0 {
                    self.sync_head()?;
                    return Err(PopError::Restarted);
                }
            }
            match self.find_cold() {
                Ok(found) => return Ok(found),
                Err(again) => not_found = again,
            }
        }
        Err(self.sync_and_report_empty())
    }

    /// Stores `head` and returns [`PopError::Empty`].
    fn sync_and_report_empty(&mut self) -> PopError {
        match self.sync_head() {
            Ok(()) => PopError::Empty,
            Err(evicted) => evicted,
        }
    }

    /// Sets the producer's epoch; returns the one before.
    pub(super) fn note_epoch(&mut self, peer: u32) -> u32 {
        self.clear_expected(); // It has the old epoch.
        core::mem::replace(&mut self.peer, peer)
    }

    /// As [`Consumer::find`] at `head`, but not inlined, for callers that are not fast paths.
    #[inline(never)]
    pub(super) fn find_cold(&mut self) -> Result<Found, NotFound> {
        self.find(self.head)
    }

    /// Counts and then releases the record at `head`, which ends at `end`.
    pub(super) fn discard(&mut self, end: u32) -> Result<(), PopError> {
        self.check_owned()?;
        self.discarded = self.discarded.wrapping_add(1);
        // relaxed: the fence after it publishes it.
        self.ring.discarded().store(self.discarded, Relaxed);
        // Pairs with the load in `resume::consumer`: a successor that resumes after this
        // record sees it counted.
        // loom: loom_ring
        fence(Release);
        self.advance(end)
    }

    /// Finds the record at or after `head`.
    #[inline(always)]
    pub(super) fn find(&mut self, head: u32) -> Result<Found, NotFound> {
        let data = &self.ring.data;
        let guess = self.guess.first();
        let Expected { words, len, stride } = guess.map_or(Expected::NONE, |guess| guess.expected);
        let to_end = data.len() - data.offset(head) as u32;
        if !SMALL && stride <= to_end {
            // Pairs with the store in `Producer::publish_header`: payload and next header are
            // whole.
            // loom: loom_ring
            let found = data.load_pair(head, Acquire);
            // relaxed: after the header's Acquire, as in `search`.
            let is_expected = found == words
                && self.ring.producer_epoch().load(Relaxed) == self.peer
                && self.claim.is_ours();
            if is_expected {
                let position = head;
                return Ok(Found { position, len });
            }
        }
        self.search(head)
    }

    /// As [`Consumer::find`], for a record other than the expected one.
    #[inline(never)]
    fn search(&mut self, head: u32) -> Result<Found, NotFound> {
        if let Some(error) = self.terminal {
            return Err(NotFound::Terminal(error));
        }
        let mut position = head;
        let (mut header, mut words) = self.header(position)?;
        if !SMALL && header == Header::Nothing && self.pause(head) {
            (header, words) = self.header(position)?;
            if let Some(guess) = self.guess.first_mut() {
                guess.pace.note_result(header != Header::Nothing);
            }
        }
        if let Header::Padding(padding) = header {
            // R5: after padding, a record lies at the start of the data.
            position = head.wrapping_add(padding);
            (header, words) = self.header(position)?;
            if header == Header::Nothing {
                return Err(NotFound::Terminal(self.fail(Header::corrupt(0))));
            }
        }
        // relaxed: after the header's Acquire it is at least as new as the record (E1); without a
        // record, `next_slow` loads it again.
        let peer = self.ring.producer_epoch().load(Relaxed);
        if let Err(error) = self.check_owned() {
            return Err(NotFound::Terminal(error));
        }
        let found = match header {
            Header::Record(len) => Some(Found { position, len }),
            _ => None,
        };
        let stamp = found.map(|_| words[1]);
        let known = ConsumerView {
            epoch: self.epoch,
            peer: self.peer,
            on_restart: self.on_restart,
        };
        match (classify(stamp, peer, known), found) {
            (Some(Class::Deliver), Some(found)) => {
                let ours = epoch::stamp(self.peer, self.epoch);
                if !SMALL && words[1] == ours && peer == self.peer {
                    let (len, stride) = (found.len, stride(found.len()));
                    self.expect(Expected { words, len, stride });
                }
                Ok(found)
            }
            (Some(Class::Stale), Some(found)) => Err(NotFound::Stale(found.end())),
            (Some(Class::ProducerRestarted(peer)), _) => Err(NotFound::ProducerRestarted(peer)),
            (Some(Class::RestartedEmpty), _) => Err(NotFound::RestartedEmpty),
            (Some(_), _) => Err(NotFound::Empty),
            (None, _) => Err(NotFound::Terminal(self.fail(invalid_epoch(peer)))),
        }
    }

    /// Pauses if more records are likely soon; returns true if it paused.
    #[inline(always)]
    fn pause(&mut self, head: u32) -> bool {
        let guess = self.guess.first_mut();
        guess.is_some_and(|guess| guess.pace.pause(head, guess.expected.stride))
    }

    #[inline(always)]
    fn header(&mut self, position: u32) -> Result<(Header, [u32; 2]), NotFound> {
        // Pairs with the store in `Producer::publish_header`: payload and next header are whole.
        // loom: loom_ring
        let words = self.ring.data.load_pair(position, Acquire);
        match Header::decode(words[0], &self.ring, position) {
            Some(header) => Ok((header, words)),
            None => Err(NotFound::Terminal(self.fail(Header::corrupt(words[0])))),
        }
    }
}

/// Returns the error for an epoch that no honest producer stores.
fn invalid_epoch(value: u32) -> Corrupt {
    Corrupt {
        word: ControlWord::ProducerEpoch,
        value,
    }
}

impl Found {
    #[inline(always)]
    pub(super) fn len(self) -> usize {
        self.len as usize
    }

    #[inline(always)]
    pub(super) fn end(self) -> u32 {
        self.position.wrapping_add(stride(self.len()))
    }
}
