//! How a consumer polls its producer for records and restarts.

use super::consumer::TypedConsumer;
use super::error::PopError;
use super::memory::SMALL;
use super::stamp::{distance, Stamp};
use crate::claim::OnRestart;
use crate::error::{ControlWord, Corrupt};
use crate::mem::Slots;
use crate::primitive::Ordering::{Acquire, Relaxed};

/// The most producers that one poll skips: as many as have words.
const PRODUCERS: usize = 4;

impl<T> TypedConsumer<'_, T> {
    /// With fewer records than this the consumer is close to its producer.
    const FEW: usize = 8192 / Slots::<T>::STRIDE + 1;

    /// Polls for records when none is known.
    #[inline(always)]
    pub(super) fn poll_producer(&mut self) -> Result<(), PopError> {
        self.poll_once()?;
        if !SMALL && self.remaining() < Self::FEW && !self.restarted {
            let bytes = self.head.wrapping_mul(Slots::<T>::STRIDE as u32);
            if self.pace.pause(bytes, Slots::<T>::STRIDE as u32) {
                self.poll_once()?;
                self.pace.note_result(self.head != self.end);
            }
        }
        if self.filters && self.head != self.end {
            self.discard_foreign()?;
        }
        if self.head == self.end {
            // Release all slots to the producer.
            self.sync_head();
        }
        Ok(())
    }

    #[inline(always)]
    fn poll_once(&mut self) -> Result<(), PopError> {
        // Pairs with the store in `TypedProducer::publish`: the records before it are whole.
        // loom: loom_typed_ring
        let tail = Stamp(self.tail_word.load(Acquire));

        // relaxed: loaded after `tail`, so that a late store of `tail` by an evicted producer
        // is not used; `note_producers` loads it again.
        let next_start = self.next_start.load(Relaxed);
        if tail.epoch() == self.peer && next_start == self.next_seen {
            return self.extend(tail, ControlWord::Tail);
        }
        self.note_producers(tail, next_start)
    }

    /// Treats the records up to `to` as published, after checking P2.
    #[inline(always)]
    fn extend(&mut self, to: Stamp, word: ControlWord) -> Result<(), PopError> {
        let count = distance(self.head, to.position());
        if count > self.ring.slots.len() {
            return Err(self.corrupt(Corrupt { word, value: to.0 }));
        }
        self.end = self.head.wrapping_add(count);
        Ok(())
    }

    /// Handles producers that claimed the end after the one that we know. `tail` of that one was
    /// loaded first, then `next_start`.
    #[cold]
    #[inline(never)]
    fn note_producers(&mut self, tail: Stamp, next_start: u32) -> Result<(), PopError> {
        let known = self.peer;
        let mut peer = known;
        for _ in 0..PRODUCERS {
            let Some(start) = self.ring.control.producer_starts().first_after(peer) else {
                break;
            };
            // Records before its start are from producers before it. The start can be before our
            // position if several producers came before we found it.
            match distance(start.position(), self.head) <= self.ring.slots.len() {
                true => self.end = self.head,
                false => self.extend(start, ControlWord::ProducerStart)?,
            }
            if self.head != self.end {
                if self.on_restart == OnRestart::Keep {
                    break;
                }
                self.discard(self.remaining() as u32)?;
            }
            peer = start.epoch();
        }
        if peer == known {
            return self.check_same_producer(tail, next_start);
        }
        self.set_producer(peer);
        if known != 0 {
            // The report of the restart comes before its records.
            self.restarted = true;
            self.end = self.head;
        } else if self.head == self.end {
            // The first producer is not a restart.
            // As in `poll_once`.
            // loom: loom_typed_ring
            let tail = Stamp(self.tail_word.load(Acquire));
            if tail.epoch() == self.peer {
                return self.extend(tail, ControlWord::Tail);
            }
        }
        Ok(())
    }

    /// Handles a poll that found no later producer: the word of the next one was not loaded
    /// before, or contains an old stamp.
    fn check_same_producer(&mut self, tail: Stamp, next_start: u32) -> Result<(), PopError> {
        if self.head != self.end {
            return Ok(());
        }
        let corrupt = |word, value| Err(Corrupt { word, value });
        // relaxed: only whether it is 0 counts.
        let start = self
            .ring
            .control
            .producer_starts()
            .word(self.peer)
            .load(Relaxed);
        let checked = match self.peer {
            0 if tail.epoch() == 0 && tail.0 != 0 => corrupt(ControlWord::Tail, tail.0),
            1.. if start == 0 => corrupt(ControlWord::ProducerStart, 0),
            _ => Ok(()),
        };
        checked.map_err(|corrupt| self.corrupt(corrupt))?;
        if self.peer != 0 && tail.epoch() == self.peer {
            // The stamp of an earlier producer there is not a restart.
            self.next_seen = next_start;
            return self.extend(tail, ControlWord::Tail);
        }
        Ok(())
    }

    /// Discards records that the producer has sent to another consumer (P8).
    #[cold]
    fn discard_foreign(&mut self) -> Result<(), PopError> {
        // relaxed: stored before the `tail` that was loaded with Acquire.
        let addressed = Stamp(self.ring.control.addressed().word(self.peer).load(Relaxed));
        let is_first = addressed.epoch() == 0 && self.epoch() == 1;
        let known = self.remaining() as u32;
        let foreign = match addressed.epoch() == self.epoch() || is_first {
            true => distance(self.head, addressed.position()),
            false => return self.discard(known),
        };
        if foreign > known {
            // The first record for us comes later than all known ones.
            return self.discard(known);
        }
        self.filters = false;
        self.store_producer_epoch(self.ring.control.accepted());
        match foreign {
            0 => Ok(()),
            _ => self.discard(foreign),
        }
    }
}
