//! Finds the position at which an end resumes after an earlier holder.

use super::header::{stride, Header};
use super::memory::Ring;
use crate::error::{ControlWord, Corrupt};
use crate::layout::RECORD_HEADER;
use crate::primitive::Ordering::Acquire;

/// Attempts to load both positions before they are reported as corrupt. Between the two loads
/// of one attempt, a ring in use can advance by more than a lap.
const ATTEMPTS: usize = 4;

/// Where an end resumes.
#[derive(Clone, Copy)]
pub(super) struct Start {
    /// The position of the end.
    pub(super) position: u32,
    /// The positions in memory; each end may be ahead of its own.
    pub(super) stored: Positions,
}

/// The positions that the two ends have stored to memory.
#[derive(Clone, Copy)]
pub(super) struct Positions {
    pub(super) tail: u32,
    pub(super) head: u32,
}

impl Positions {
    /// Loads both words and checks them against each other.
    ///
    /// # Errors
    ///
    /// [`Corrupt`] with the word that no honest partition stores.
    pub(super) fn load(ring: &Ring<'_>) -> Result<Self, Corrupt> {
        let mut attempt = 1;
        loop {
            // Pairs with the store in `Producer::store_tail`: the header there is zero or a
            // record's, and `head` is at least the one that made room for the records before.
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

    /// Checks R2. `tail` may lag by an eighth of the ring and one publication.
    #[inline(always)]
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

/// Finds the first record that an earlier consumer had not released.
///
/// # Errors
///
/// [`Corrupt`] if the words are not those of a ring.
pub(super) fn consumer(ring: &Ring<'_>) -> Result<Start, Corrupt> {
    let mut attempt = 1;
    loop {
        let stored = Positions::load(ring)?;
        // Pairs with the fence in `Consumer::discard`: the discarded records are counted. After
        // the Acquire of `head` it is not older than `head`.
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

/// Returns the position of the first record not released, given `head` and `position`. A
/// `position` before `head` is a late store of an evicted consumer: it returns `head`.
///
/// # Errors
///
/// [`Corrupt`] if no honest consumer stores this `position`.
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

/// Finds the end of the last record that an earlier producer published; `tail` in memory may
/// lag.
///
/// # Errors
///
/// [`Corrupt`] if the words are not those of a ring.
pub(super) fn producer(ring: &Ring<'_>) -> Result<Start, Corrupt> {
    let stored = Positions::load(ring)?;
    let Positions { mut tail, head } = stored;
    if head.wrapping_sub(tail) as i32 > 0 {
        // `tail` lags, and the records after it are consumed.
        tail = head;
    }
    let mut padded = false;
    // Bounded: each step is at least 8 bytes, and R2 ends the walk.
    while tail.wrapping_sub(head) < ring.data.len() {
        // Pairs with the store in `Producer::publish_header`: after padding there is a record.
        // loom: loom_evicted
        let [word, _] = ring.data.load_pair(tail, Acquire);
        let (step, is_padding) = match Header::decode(word, ring, tail) {
            Some(Header::Nothing) if !padded => break,
            Some(Header::Record(len)) => (stride(len as usize), false),
            Some(Header::Padding(len)) => (len, true),
            Some(Header::Nothing) | None => return Err(Header::corrupt(word)),
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
