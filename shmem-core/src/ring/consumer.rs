//! The end of a ring that pops.

use memoffset::offset_of;

use super::header::{stride, Header};
use super::{epoch, ClaimError, PopError, Record, Ring};
use crate::doorbell::{Doorbell, Ringer, Sleeper};
use crate::error::{ControlWord, Corrupt};
use crate::layout::RingControl;
use crate::life::Life;
use crate::mem::Word;
use crate::primitive::Ordering::{Acquire, Relaxed, Release};
use crate::wait::Wait;

/// What becomes of records that were pushed before a restart of either end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// They are kept: results, which are true whoever reads them.
    Keep,
    /// They are discarded, and counted: commands, which no new life is to obey.
    Discard,
}

/// The end that pops. Dropping it gives the claim back.
///
/// Aligned so that the two ends of a ring in one program do not share a line.
#[repr(align(128))]
pub struct Consumer<'m> {
    ring: Ring<'m>,
    /// Our position: the first record not released. The copy in memory is write-only.
    head: u32,
    /// Where the record that was peeked last ends; `head` if none was.
    peeked: u32,
    /// How many lives had our end, with ours.
    epoch: u32,
    /// How many had the producer's, as far as its records have told us.
    peer: u32,
    /// Two words that every pop touches, their bounds checked once.
    head_word: Word<'m>,
    peer_epoch: Word<'m>,
    unread: Unread,
    discarded: u32,
    corrupt: Option<Corrupt>,
    life: Life,
    records: Sleeper<'m>,
    space: Ringer<'m>,
}

/// Where the next record is.
#[derive(Clone, Copy)]
struct Found {
    position: u32,
    len: usize,
}

/// Why a look found no record.
#[derive(Clone, Copy)]
enum Miss {
    Empty,
    /// A record that is to be discarded.
    Stale(Found),
    /// The producer's epoch is another, and what was found before it is taken.
    Seam(u32),
    /// The same, but nothing is published: to be looked at again.
    Moved,
    Corrupt(Corrupt),
}

/// Where a consumer goes on.
pub(super) fn resume(ring: &Ring<'_>) -> Result<u32, ClaimError> {
    // Relaxed: stored by an earlier life of this end, which is over.
    let head = ring.head().load(Relaxed);
    if head % 8 != 0 {
        return Err(ClaimError::Corrupt(Corrupt {
            word: ControlWord::Head,
            value: head,
        }));
    }
    Ok(head)
}

impl<'m> Consumer<'m> {
    pub(super) fn new(ring: Ring<'m>, life: Life, head: u32, epoch: u32, unread: Unread) -> Self {
        let mut consumer = Self {
            ring,
            head,
            peeked: head,
            epoch,
            peer: ring.producer_epoch().load(Relaxed),
            head_word: ring.head(),
            peer_epoch: ring.producer_epoch(),
            unread,
            discarded: ring.discarded().load(Relaxed),
            corrupt: None,
            life,
            records: ring.sleeper(offset_of!(RingControl, records)),
            space: ring.ringer(offset_of!(RingControl, space)),
        };
        if unread == Unread::Keep {
            // The seam is behind what is kept, not in front of it.
            if let Err(Miss::Seam(peer)) = consumer.find(head) {
                consumer.peer = peer;
            }
        }
        consumer
    }

    /// The ring.
    pub fn ring(&self) -> &Ring<'m> {
        &self.ring
    }

    /// Copies the next record into the front of `record`, releases it, and
    /// returns its length. Never waits, rings no bell.
    ///
    /// # Errors
    ///
    /// [`PopError::Empty`] if there is none, [`PopError::TooLong`] if it does
    /// not fit `record`, [`PopError::Restarted`] at the seam between two lives
    /// of the producer, [`PopError::Corrupt`] if it broke the protocol.
    #[inline(always)]
    pub fn pop(&mut self, record: &mut [u8]) -> Result<usize, PopError> {
        let found = self.next()?;
        let Some(bytes) = record.get_mut(..found.len) else {
            return Err(PopError::TooLong { len: found.len });
        };
        self.ring.data.read(Ring::payload(found.position), bytes);
        self.advance(found.end());
        Ok(found.len)
    }

    /// The next record, in place; it stays the next until [`Consumer::release`].
    ///
    /// # Errors
    ///
    /// As [`Consumer::pop`], but for [`PopError::TooLong`].
    #[inline(always)]
    pub fn peek(&mut self) -> Result<Record<'_>, PopError> {
        let found = self.next()?;
        self.peeked = found.end();
        Ok(self.record(found))
    }

    /// Gives the record that was peeked last back to the producer. Does nothing
    /// if none was.
    #[inline(always)]
    pub fn release(&mut self) {
        if self.peeked != self.head {
            self.advance(self.peeked);
        }
    }

    /// Hands up to `limit` records to `handle` and releases them together, by
    /// one store; the first one for which `handle` says `false` stays the next
    /// and ends it. Returns how many were released.
    ///
    /// # Errors
    ///
    /// [`PopError::Restarted`] or [`PopError::Corrupt`] as [`Consumer::pop`], by
    /// a call that finds no record before it.
    pub fn drain(
        &mut self,
        limit: usize,
        mut handle: impl FnMut(Record<'_>) -> bool,
    ) -> Result<usize, PopError> {
        let mut end = self.head;
        let mut count = 0;
        let result = loop {
            // R2: an honest producer is at most a lap ahead; another one must
            // not lead us round and round.
            if count == limit || end.wrapping_sub(self.head) >= self.ring.data.len() {
                break Ok(count);
            }
            let found = if count == 0 {
                let found = self.next();
                end = self.head; // What is discarded lies before it.
                found
            } else {
                self.find(end).map_err(|_| PopError::Empty)
            };
            match found {
                Ok(found) => {
                    if !handle(self.record(found)) {
                        break Ok(count);
                    }
                    end = found.end();
                    count += 1;
                }
                Err(error) if error != PopError::Empty => break Err(error),
                Err(_) => break Ok(count),
            }
        };
        if end != self.head {
            self.advance(end);
        }
        result
    }

    /// Whether there is nothing to say now. A seam counts as a record, and so does
    /// a broken ring, so that a waiter comes back and learns of it.
    pub fn is_empty(&mut self) -> bool {
        let start = self.head;
        loop {
            match self.look() {
                Err(Miss::Stale(_)) if self.is_lapped(start) => return true,
                Err(Miss::Stale(found)) => self.discard(found),
                found => return matches!(found, Err(Miss::Empty)),
            }
        }
    }

    /// Where the next record is, or will be: a position that counts on modulo
    /// 2^32, and the one at which a later life resumes. [`Consumer::release`]
    /// moves it, so that who has noted it knows again what it had not released.
    pub fn position(&self) -> u32 {
        self.head
    }

    /// Records that consumers of this ring discarded, this one and those before
    /// it; counts on modulo 2^32.
    pub fn discarded(&self) -> u32 {
        self.discarded
    }

    /// Waits until there is a record; `false` if the deadline passes first.
    pub fn wait<W: Wait>(&mut self, wait: &mut W) -> bool {
        let records = self.records;
        let found = records.wait(wait, || (!self.is_empty()).then_some(()));
        found.is_some()
    }

    /// Rings `doorbell` if the producer sleeps for space. Call it after
    /// releasing records. Returns whether it slept.
    #[inline(always)]
    pub fn notify<D: Doorbell>(&mut self, doorbell: &D) -> bool {
        self.space.ring(doorbell)
    }

    /// Finds the next record that is to be handed out.
    #[inline(always)]
    fn next(&mut self) -> Result<Found, PopError> {
        match self.find(self.head) {
            Ok(found) => Ok(found),
            Err(Miss::Empty) => Err(PopError::Empty),
            Err(miss) => self.resolve(miss),
        }
    }

    /// Deals with what an earlier life left.
    #[cold]
    fn resolve(&mut self, mut miss: Miss) -> Result<Found, PopError> {
        let start = self.head;
        loop {
            let seam = match miss {
                Miss::Empty => return Err(PopError::Empty),
                Miss::Corrupt(corrupt) => return Err(PopError::Corrupt(corrupt)),
                Miss::Stale(_) if self.is_lapped(start) => return Err(PopError::Empty),
                Miss::Stale(found) => {
                    self.discard(found);
                    None
                }
                Miss::Seam(peer) => Some(peer),
                Miss::Moved => {
                    // Pairs with the store in `epoch::claim`: behind it, all that
                    // earlier lives published is seen.
                    let peer = self.ring.producer_epoch().load(Acquire); // loom: loom_ring
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
    }

    /// As [`Consumer::find`] at `head`, where its time does not count: code that many
    /// callers share.
    #[inline(never)]
    fn look(&mut self) -> Result<Found, Miss> {
        self.find(self.head)
    }

    /// Passes over a record at `head`, and counts it.
    fn discard(&mut self, found: Found) {
        self.discarded = self.discarded.wrapping_add(1);
        // Relaxed: for inspection.
        self.ring.discarded().store(self.discarded, Relaxed);
        self.advance(found.end());
    }

    /// Whether a lap was discarded since `start`: an honest producer leaves no
    /// more, and another one must not keep us at it.
    fn is_lapped(&self, start: u32) -> bool {
        self.head.wrapping_sub(start) >= self.ring.data.len()
    }

    /// Looks for a record at or behind `head`.
    #[cfg_attr(not(feature = "small"), inline(always))]
    #[cfg_attr(feature = "small", inline(never))]
    fn find(&mut self, head: u32) -> Result<Found, Miss> {
        if let Some(corrupt) = self.corrupt {
            return Err(Miss::Corrupt(corrupt));
        }
        let mut position = head;
        let mut header = self.header(position)?;
        if let Header::Padding(padding) = header {
            // R5: behind padding comes the start, where there is none.
            position = head.wrapping_add(padding);
            header = self.header(position)?;
        }
        // Relaxed: behind the header's acquire it is at least as new as the record (E1).
        let peer = self.peer_epoch.load(Relaxed);
        let Header::Record(len) = header else {
            // Whoever is first has nothing to say before its first record.
            let known = peer == self.peer || self.peer == 0;
            return Err(if known { Miss::Empty } else { Miss::Moved });
        };
        let found = Found { position, len };
        let stamp = self.ring.stamp(position).load(Relaxed);
        if stamp == epoch::stamp(self.peer, self.epoch) && peer == self.peer {
            return Ok(found);
        }
        self.judge(found, stamp, peer)
    }

    /// Says what becomes of a record that is not from the producer we know for us.
    #[cold]
    fn judge(&self, found: Found, stamp: u32, peer: u32) -> Result<Found, Miss> {
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

    #[inline(always)]
    fn header(&mut self, position: u32) -> Result<Header, Miss> {
        // Pairs with the store in `Producer::expose`: payload and next header are whole.
        let word = self.ring.data.word(position).load(Acquire); // loom: loom_ring
        Header::decode(word, &self.ring, position).map_err(|corrupt| {
            self.corrupt = Some(corrupt);
            Miss::Corrupt(corrupt)
        })
    }

    #[inline(always)]
    fn record(&self, found: Found) -> Record<'_> {
        Record {
            payload: self
                .ring
                .data
                .window(Ring::payload(found.position), found.len),
            len: found.len,
        }
    }

    #[inline(always)]
    fn advance(&mut self, end: u32) {
        self.head = end;
        self.peeked = end;
        // Pairs with the load in `Producer::refresh`: we have finished reading
        // what the producer may now overwrite.
        self.head_word.store(end, Release); // loom: loom_ring
    }
}

impl Drop for Consumer<'_> {
    fn drop(&mut self) {
        epoch::give_back(self.ring.consumer_claim(), self.life);
    }
}

impl Found {
    #[inline(always)]
    fn end(self) -> u32 {
        self.position.wrapping_add(stride(self.len))
    }
}
