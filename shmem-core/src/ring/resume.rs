//! Where an end goes on after another one before it.

use super::header::{stride, Header};
use super::memory::Ring;
use crate::error::{ControlWord, Corrupt};
use crate::layout::RECORD_HEADER;
use crate::primitive::Ordering::Acquire;

/// Loads of both positions before they are said to be corrupt: between the two loads
/// of an attempt a ring in use can move on by more than a lap.
const ATTEMPTS: usize = 4;

/// Where an end goes on.
#[derive(Clone, Copy)]
pub(super) struct Start {
    /// Its own position.
    pub(super) position: u32,
    /// What is in memory; each end may be further.
    pub(super) stored: Positions,
}

/// What the two ends have stored of their positions.
#[derive(Clone, Copy)]
pub(super) struct Positions {
    pub(super) tail: u32,
    pub(super) head: u32,
}

impl Positions {
    /// Both words, held against each other.
    ///
    /// # Errors
    ///
    /// [`Corrupt`] with the word that no honest partition leaves.
    pub(super) fn load(ring: &Ring<'_>) -> Result<Self, Corrupt> {
        let mut attempt = 1;
        loop {
            // Pairs with the store in `Producer::store_tail`: the header there is zero or a
            // record's, and `head` is at least what made room for what lies before.
            // loom: loom_evicted
            let tail = ring.tail().load(Acquire);

            // Pairs with the store in `Consumer::store_head`, as in `Producer::load_head`.
            // loom: loom_ring
            let head = ring.head().load(Acquire);
            let position = Self { tail, head };
            match position.check(ring) {
                Err(_) if attempt < ATTEMPTS => attempt += 1,
                checked => return checked.map(|()| position),
            }
        }
    }

    /// R2, where `tail` may lag by an eighth and one publication.
    pub(super) fn check(self, ring: &Ring<'_>) -> Result<(), Corrupt> {
        let Self { tail, head } = self;
        let limit = ring.data.len() - RECORD_HEADER as u32; // R4
        let most = limit + ring.data.len() / 8;
        let (lag, backlog) = (head.wrapping_sub(tail), tail.wrapping_sub(head));
        // Positions differ by much less than half of their range.
        let lags = lag as i32 > 0;
        let corrupt = |word, value| Err(Corrupt { word, value });
        if head % 8 != 0 || (lags && lag > most) {
            return corrupt(ControlWord::Head, head);
        }
        if tail % 8 != 0 || (!lags && backlog > limit) {
            return corrupt(ControlWord::Tail, tail);
        }
        Ok(())
    }
}

/// Finds the first record that an earlier consumer had not read.
///
/// # Errors
///
/// [`Corrupt`] if what it left is not a ring.
pub(super) fn consumer(ring: &Ring<'_>) -> Result<Start, Corrupt> {
    let mut attempt = 1;
    loop {
        let stored = Positions::load(ring)?;
        // Pairs with the fence in `Consumer::discard`: what it discarded is counted. After the
        // Acquire of `head` it is no older than that.
        // loom: loom_ring
        let position = ring.position().load(Acquire);
        match first_unread(ring, stored.head, position) {
            Err(_) if attempt < ATTEMPTS => attempt += 1,
            found => {
                return Ok(Start {
                    position: found?,
                    stored,
                })
            }
        }
    }
}

/// The first record not read, where the two words hold `head` and `position`.
///
/// # Errors
///
/// [`Corrupt`] if no honest consumer leaves this `position`. One that is before `head` is a
/// late store of a consumer that another one has replaced.
pub(super) fn first_unread(ring: &Ring<'_>, head: u32, position: u32) -> Result<u32, Corrupt> {
    let read = position.wrapping_sub(head);
    if position % 8 == 0 && read as i32 <= 0 {
        return Ok(head);
    }
    if position % 8 != 0 || read > ring.data.len() - RECORD_HEADER as u32 {
        return Err(Corrupt {
            word: ControlWord::Position,
            value: position,
        });
    }
    Ok(position)
}

/// Finds the end of what an earlier producer published: `tail` in memory may be before it.
///
/// # Errors
///
/// [`Corrupt`] if what it left is not a ring.
pub(super) fn producer(ring: &Ring<'_>) -> Result<Start, Corrupt> {
    let stored = Positions::load(ring)?;
    let Positions { mut tail, head } = stored;
    if head.wrapping_sub(tail) as i32 > 0 {
        // `tail` lags, and what it does not tell of is consumed.
        tail = head;
    }
    let mut padded = false;
    // Bounded: each step is at least 8 bytes, and R2 ends the walk.
    while tail.wrapping_sub(head) < ring.data.len() {
        // Pairs with the store in `Producer::publish_header`: after padding there is a record.
        // loom: loom_evicted
        let [word, _] = ring.data.load_pair(tail, Acquire);
        let (step, is_padding) = match Header::decode(word, ring, tail)? {
            Header::Nothing if padded => return Err(Header::corrupt(word)),
            Header::Nothing => break,
            Header::Record(len) => (stride(len), false),
            Header::Padding(len) => (len, true),
        };
        padded = is_padding;
        tail = tail.wrapping_add(step);
    }
    if tail.wrapping_sub(head) > ring.data.len() - RECORD_HEADER as u32 {
        return Err(Corrupt {
            word: ControlWord::Tail,
            value: tail,
        });
    }
    Ok(Start {
        position: tail,
        stored,
    })
}
