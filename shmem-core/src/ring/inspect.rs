//! A ring as a third party sees it: by loads alone, whatever is in it.
//!
//! Nothing here claims an end or stores a word, so the memory may be mapped
//! read-only. A ring in use moves meanwhile; what looks broken at one look and not
//! at the next was in motion.

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

/// Looks at the records before a ring in use is said to be [`End::Moving`].
const ATTEMPTS: usize = 16;

/// What a ring's words say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// Position after a record, as the producer stored it: of the last one, or of an earlier
    /// one.
    pub tail: u32,
    /// Position of the first record not released.
    pub head: u32,
    /// Position up to which bytes were given back to the producer; lags behind `head`.
    pub given_back: u32,
    /// What lies between the two ends.
    pub backlog: Backlog,
    /// The producing end.
    pub producer: Claim,
    /// The consuming end.
    pub consumer: Claim,
    /// Records that consumers discarded, modulo 2^32.
    pub discarded: u32,
    /// The bell that the consumer sleeps on.
    pub records: BellWords,
    /// The bell that the producer sleeps on.
    pub space: BellWords,
}

impl Inspection {
    /// The first word that no honest partition leaves.
    pub fn corrupt(&self) -> Option<Corrupt> {
        if let End::Corrupt(corrupt) = self.backlog.end {
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
    /// How many.
    pub records: usize,
    /// How many of them an earlier incarnation of the producer published, or any
    /// producer for an earlier incarnation of the consumer.
    pub earlier: usize,
    /// Bytes from `head` to behind the last of them, with headers and padding.
    pub bytes: u32,
    /// Where the count ended.
    pub end: End,
}

/// Where a walk along the records ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Where nothing is published.
    Nothing,
    /// At as many records as were asked for.
    Limit,
    /// Nowhere: records were released under every look.
    Moving,
    /// At something that no honest partition leaves.
    Corrupt(Corrupt),
}

/// Who has an end of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The word: an incarnation, with [`Incarnation::FLAG`] if it gave the end back; 0 is nobody
    /// yet.
    pub word: u32,
    /// Counts the incarnations that had the end; more than 16 bits are not honest.
    pub epoch: u32,
}

impl Claim {
    /// Who has the end, or had it last; `None` if nobody, or the word is no incarnation's.
    pub fn incarnation(&self) -> Option<Incarnation> {
        Incarnation::from_word(self.word)
    }

    fn check(&self, epoch: ControlWord) -> Result<u32, Corrupt> {
        if self.word != 0 && self.incarnation().is_none() {
            return Err(corrupt(ControlWord::Claim, self.word));
        }
        epoch::check(epoch, self.epoch, 0)
    }

    /// Whether the end was not given back.
    pub fn is_held(&self) -> bool {
        self.word != 0 && self.word & Incarnation::FLAG == 0
    }
}

/// The words of a bell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BellWords {
    /// 1 while the sleeper wants to be rung.
    pub armed: u32,
    /// Counts the rings.
    pub rings: u32,
}

/// A record that was not released.
#[derive(Clone, Copy, Debug)]
pub struct Pending<'m> {
    /// Where it stands.
    pub position: u32,
    /// The epoch of its producer.
    pub producer_epoch: u32,
    /// The epoch of the consumer it is for; 0 is whoever comes first.
    pub consumer_epoch: u32,
    /// Its bytes.
    pub record: Record<'m>,
}

/// A walk along the records from `head`; see [`Ring::unread`].
pub struct Walk<'m> {
    ring: Ring<'m>,
    start: u32,
    position: u32,
    ended: bool,
}

impl<'m> Ring<'m> {
    /// Looks at all words of the ring, and at up to `limit` records. Only loads.
    pub fn inspect(&self, limit: usize) -> Inspection {
        let mut attempt = 1;
        loop {
            let inspection = self.inspect_once(limit);
            if inspection.backlog.end != End::Moving || attempt == ATTEMPTS {
                return inspection;
            }
            attempt += 1;
        }
    }

    /// The records from `head` on, as far as they are sound, a lap at the most. Only
    /// loads; those of a ring in use may be gone, and others in their place.
    pub fn unread(&self) -> Walk<'m> {
        // relaxed: a start; each header is loaded with Acquire and checked.
        let [given_back, position] = [self.head(), self.position()].map(|word| word.load(Relaxed));
        let head = first_unread(self, given_back, position);
        Walk::new(*self, head.unwrap_or(given_back))
    }

    fn inspect_once(&self, limit: usize) -> Inspection {
        // Before all else. Pairs with the store in `Producer::store_tail`: the headers
        // in front of it are seen.
        // loom: loom_inspect
        let tail = self.tail().load(Acquire);
        // relaxed: after the Acquire of `tail`; it is loaded again after the fence.
        let given_back = self.head().load(Relaxed);
        // relaxed: for inspection; it may have changed since.
        let load = |word: Word<'_>| word.load(Relaxed);
        let claim = |word, epoch| Claim { word, epoch };
        let end = |end: epoch::End<'_>| claim(end.claim.load(), load(end.epoch));
        let (producer, consumer) = (end(self.producer_end()), end(self.consumer_end()));
        let first = first_unread(self, given_back, load(self.position()));
        let head = first.unwrap_or(given_back);
        let mut backlog = self.count(head, limit, epoch::stamp(producer.epoch, consumer.epoch));
        // Behind the headers that were read, so that one which was overwritten is
        // noticed by `head`, which made room for that.
        // loom: none (payload is no release, so a model raises the false alarm with it, too)
        fence(Acquire);
        let positions = Positions {
            tail,
            head: given_back,
        };
        if load(self.head()) != given_back {
            backlog.end = End::Moving;
        } else if let Err(corrupt) = first {
            backlog.end = End::Corrupt(corrupt);
        } else if let Err(corrupt) = positions.check(self) {
            // A `tail` that moves, too, may have been a lap before.
            let moved = load(self.tail()) != tail;
            backlog.end = if moved {
                End::Moving
            } else {
                End::Corrupt(corrupt)
            };
        }
        Inspection {
            tail,
            head,
            given_back,
            backlog,
            producer,
            consumer,
            discarded: load(self.discarded()),
            records: self.bell(offset_of!(RingControl, records)),
            space: self.bell(offset_of!(RingControl, space)),
        }
    }

    /// Counts the records from `head`, for ends that stamp them with `stamp`.
    fn count(&self, head: u32, limit: usize, stamp: u32) -> Backlog {
        let mut walk = Walk::new(*self, head);
        let (mut records, mut earlier) = (0, 0);
        let end = loop {
            if records == limit {
                break End::Limit;
            }
            match walk.step() {
                Ok(Some(pending)) => {
                    records += 1;
                    earlier += usize::from(!pending.matches_stamp(stamp));
                }
                Ok(None) => break End::Nothing,
                Err(corrupt) => break End::Corrupt(corrupt),
            }
        };
        Backlog {
            records,
            earlier,
            bytes: walk.position.wrapping_sub(head),
            end,
        }
    }

    fn bell(&self, at: usize) -> BellWords {
        // relaxed: for inspection; it may have changed since.
        let load = |offset| self.control_word(at + offset).load(Relaxed);
        BellWords {
            armed: load(offset_of!(Bell, armed)),
            rings: load(offset_of!(Bell, rings)),
        }
    }
}

impl Pending<'_> {
    /// Whether the ends that stamp with `stamp` take it for their own (E3).
    fn matches_stamp(&self, stamp: u32) -> bool {
        let (producer, consumer) = (epoch::of_producer(stamp), epoch::of_consumer(stamp));
        let first = self.consumer_epoch == 0 && consumer <= 1;
        self.producer_epoch == producer && (self.consumer_epoch == consumer || first)
    }
}

impl<'m> Walk<'m> {
    fn new(ring: Ring<'m>, head: u32) -> Self {
        Self {
            ring,
            start: head,
            position: head,
            ended: false,
        }
    }

    /// The next record; `None` where nothing is published.
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
            // Pairs with the store in `Producer::publish_header`: behind padding there is a record.
            // loom: loom_inspect
            let [word, stamp] = self.ring.data.load_pair(position, Acquire);
            match Header::decode(word, &self.ring, position)? {
                // R5: padding comes with the record behind it.
                Header::Nothing if padded => return Err(Header::corrupt(word)),
                Header::Nothing => return Ok(None),
                Header::Padding(len) => {
                    padded = true;
                    self.position = position.wrapping_add(len);
                }
                Header::Record(len) => {
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
