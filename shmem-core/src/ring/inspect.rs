//! Inspects a ring from a third partition: with loads only, whatever the ring contains.
//!
//! Inspection claims no end and stores no word, so the memory may be mapped read-only. A ring
//! in use changes meanwhile: if one inspection reports a corrupt ring and the next one does
//! not, the ring was in use.

use memoffset::offset_of;

use super::header::{stride, Header};
use super::resume::{first_unread, Positions};
use super::{epoch, Record, Ring};
use crate::error::{ControlWord, Corrupt};
use crate::incarnation::Incarnation;
use crate::layout::{Bell, RingControl, RECORD_HEADER};
use crate::mem::Word;
use crate::primitive::{
    fence,
    Ordering::{Acquire, Relaxed},
};

/// Attempts before a ring in use is reported as [`Stop::Moving`].
const ATTEMPTS: usize = 16;

/// The state of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// The stored position of the producer: the end of the last record or of an earlier one.
    pub tail: u32,
    /// Position of the first record not released.
    pub position: u32,
    /// Position up to which the producer may reuse bytes; it may lag `position`.
    pub head: u32,
    /// The records between the two ends.
    pub backlog: Backlog,
    /// The producing end.
    pub producer: Claim,
    /// The consuming end.
    pub consumer: Claim,
    /// Records that consumers discarded, modulo 2^32.
    pub discarded: u32,
    /// The doorbell that the consumer sleeps on.
    pub records: BellWords,
    /// The doorbell that the producer sleeps on.
    pub space: BellWords,
}

impl Inspection {
    /// Returns the first word that no honest partition stores, if there is one.
    pub fn corrupt(&self) -> Option<Corrupt> {
        if let Stop::Corrupt(corrupt) = self.backlog.stop {
            return Some(corrupt);
        }
        let ends = [
            (&self.producer, ControlWord::ProducerEpoch),
            (&self.consumer, ControlWord::ConsumerEpoch),
        ];
        let mut claims = ends.iter().map(|(claim, name)| claim.check(*name));
        claims.find_map(Result::err)
    }
}

/// Records that were published and not released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// The number of records.
    pub records: usize,
    /// The number of records from an earlier epoch of the producer or for an earlier epoch of
    /// the consumer.
    pub earlier: usize,
    /// Bytes from `position` to the end of the last record, with headers and padding.
    pub bytes: u32,
    /// Where the count stopped.
    pub stop: Stop,
}

/// Where a count of the records stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// After the last published record.
    Nothing,
    /// At the requested number of records.
    Limit,
    /// Unknown: the consumer released records during every attempt to count.
    Moving,
    /// At a word that no honest partition stores.
    Corrupt(Corrupt),
}

/// The claim of an end of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The word: an incarnation, with [`Incarnation::FLAG`] if it released the end; 0 if the end
    /// was never claimed.
    pub word: u32,
    /// The epoch of the end. No honest partition stores more than 16 bits.
    pub epoch: u32,
}

impl Claim {
    /// Returns the incarnation that holds the end, or held it last; `None` if the word does
    /// not contain one.
    pub fn incarnation(&self) -> Option<Incarnation> {
        Incarnation::from_word(self.word)
    }

    fn check(&self, epoch: ControlWord) -> Result<u32, Corrupt> {
        if self.word != 0 && self.incarnation().is_none() {
            return Err(corrupt(ControlWord::Claim, self.word));
        }
        epoch::check(epoch, self.epoch, 0)
    }

    /// Returns true if the end is claimed and not released.
    pub fn is_held(&self) -> bool {
        self.word != 0 && self.word & Incarnation::FLAG == 0
    }
}

/// The words of a doorbell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BellWords {
    /// 1 while the sleeper needs a ring to wake.
    pub armed: u32,
    /// How often the doorbell was rung, modulo 2^32.
    pub ring_count: u32,
}

/// A record that was not released.
#[derive(Clone, Copy, Debug)]
pub struct Pending<'m> {
    /// Its position.
    pub position: u32,
    /// The epoch of its producer.
    pub producer_epoch: u32,
    /// The epoch of the consumer that it is for; 0 is the first consumer.
    pub consumer_epoch: u32,
    /// Its bytes.
    pub record: Record<'m>,
}

/// A walk along the records that were not released; see [`Ring::unread`].
pub struct Walk<'m> {
    ring: Ring<'m>,
    start: u32,
    position: u32,
    ended: bool,
}

impl<'m> Ring<'m> {
    /// Returns the state of the ring, with up to `limit` records counted. Only loads.
    pub fn inspect(&self, limit: usize) -> Inspection {
        let mut attempt = 1;
        loop {
            let inspection = self.inspect_once(limit);
            if inspection.backlog.stop != Stop::Moving || attempt == ATTEMPTS {
                return inspection;
            }
            attempt += 1;
        }
    }

    /// Walks the records that were not released, up to the first corrupt header, at most one lap.
    /// Only loads. In a ring in use, later records may replace them meanwhile.
    pub fn unread(&self) -> Walk<'m> {
        // relaxed: a start; each header is loaded with Acquire and checked.
        let [head, position] = [self.head(), self.position()].map(|word| word.load(Relaxed));
        let first = first_unread(self, head, position);
        Walk::new(*self, first.unwrap_or(head))
    }

    fn inspect_once(&self, limit: usize) -> Inspection {
        // Loaded first. Pairs with the store in `Producer::store_tail`: the headers
        // before it are visible.
        // loom: loom_inspect
        let tail = self.tail().load(Acquire);
        // relaxed: after the Acquire of `tail`; it is loaded again after the fence.
        let head = self.head().load(Relaxed);
        // relaxed: for inspection; it may have changed since.
        let load = |word: Word<'_>| word.load(Relaxed);
        let claim = |word, epoch| Claim { word, epoch };
        let end = |end: epoch::End<'_>| claim(end.claim.load(), load(end.epoch));
        let (producer, consumer) = (
            end(self.end(epoch::Side::Producer)),
            end(self.end(epoch::Side::Consumer)),
        );
        let first = first_unread(self, head, load(self.position()));
        let position = first.unwrap_or(head);
        let mut backlog = self.count(
            position,
            limit,
            epoch::stamp(producer.epoch, consumer.epoch),
        );
        // Orders the loads of headers before the second load of `head`: if a header was
        // overwritten, `head` has moved to make room for it.
        // loom: none (payload is no release, so a model raises the false alarm with it, too)
        fence(Acquire);
        let positions = Positions { tail, head };
        if load(self.head()) != head {
            backlog.stop = Stop::Moving;
        } else if let Err(corrupt) = first {
            backlog.stop = Stop::Corrupt(corrupt);
        } else if let Err(corrupt) = positions.check(self) {
            // If `tail` moves, too, its value may have been a lap old.
            let moved = load(self.tail()) != tail;
            backlog.stop = if moved {
                Stop::Moving
            } else {
                Stop::Corrupt(corrupt)
            };
        }
        Inspection {
            tail,
            position,
            head,
            backlog,
            producer,
            consumer,
            discarded: load(self.discarded()),
            records: self.bell(offset_of!(RingControl, records)),
            space: self.bell(offset_of!(RingControl, space)),
        }
    }

    /// Counts the records from `position`; `stamp` contains the present epochs.
    fn count(&self, position: u32, limit: usize, stamp: u32) -> Backlog {
        let mut walk = Walk::new(*self, position);
        let (mut records, mut earlier) = (0, 0);
        let stop = loop {
            if records == limit {
                break Stop::Limit;
            }
            match walk.step() {
                Ok(Some(pending)) => {
                    records += 1;
                    earlier += usize::from(!pending.matches_stamp(stamp));
                }
                Ok(None) => break Stop::Nothing,
                Err(corrupt) => break Stop::Corrupt(corrupt),
            }
        };
        Backlog {
            records,
            earlier,
            bytes: walk.position.wrapping_sub(position),
            stop,
        }
    }

    fn bell(&self, at: usize) -> BellWords {
        // relaxed: for inspection; it may have changed since.
        let load = |offset| self.control_word(at + offset).load(Relaxed);
        BellWords {
            armed: load(offset_of!(Bell, armed)),
            ring_count: load(offset_of!(Bell, ring_count)),
        }
    }
}

impl Pending<'_> {
    /// Returns true if the record is from the producer and for the consumer of `stamp` (E3).
    fn matches_stamp(&self, stamp: u32) -> bool {
        let (producer, consumer) = (epoch::of_producer(stamp), epoch::of_consumer(stamp));
        let first = self.consumer_epoch == 0 && consumer <= 1;
        self.producer_epoch == producer && (self.consumer_epoch == consumer || first)
    }
}

impl<'m> Walk<'m> {
    fn new(ring: Ring<'m>, position: u32) -> Self {
        Self {
            ring,
            start: position,
            position,
            ended: false,
        }
    }

    /// Returns the next record; `None` if no more is published.
    fn step(&mut self) -> Result<Option<Pending<'m>>, Corrupt> {
        if self.start % 8 != 0 {
            return Err(corrupt(ControlWord::Head, self.start));
        }
        let mut padded = false;
        loop {
            // R2, R4: bounded whatever the headers say; each step is 8 bytes at least.
            if self.walked() > self.ring.data.len() - RECORD_HEADER as u32 {
                return Err(corrupt(ControlWord::Tail, self.position));
            }
            let position = self.position;
            // Pairs with the store in `Producer::publish_header`: after padding there is a record.
            // loom: loom_inspect
            let [word, stamp] = self.ring.data.load_pair(position, Acquire);
            match Header::decode(word, &self.ring, position) {
                Some(Header::Nothing) if !padded => return Ok(None),
                // R5: padding is published with the record after it.
                Some(Header::Nothing) | None => return Err(Header::corrupt(word)),
                Some(Header::Padding(len)) => {
                    padded = true;
                    self.position = position.wrapping_add(len);
                }
                Some(Header::Record(len)) => {
                    let len = len as usize;
                    self.position = position.wrapping_add(stride(len));
                    return Ok(Some(self.pending(position, len, stamp)));
                }
            }
        }
    }

    fn walked(&self) -> u32 {
        self.position.wrapping_sub(self.start)
    }

    fn pending(&self, position: u32, len: usize, stamp: u32) -> Pending<'m> {
        Pending {
            position,
            producer_epoch: epoch::of_producer(stamp),
            consumer_epoch: epoch::of_consumer(stamp),
            record: Record {
                payload: self.ring.data.window(Ring::payload(position), len),
                len,
            },
        }
    }
}

impl<'m> Iterator for Walk<'m> {
    type Item = Pending<'m>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let pending = self.step().ok().flatten();
        self.ended = pending.is_none();
        pending
    }
}

fn corrupt(word: ControlWord, value: u32) -> Corrupt {
    Corrupt { word, value }
}
