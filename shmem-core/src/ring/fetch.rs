//! Fetches lines from the consumer's processor before the producer writes records there.
//!
//! The consumer read each line a lap ago, so its processor has a copy, which must be
//! invalidated before a store to the line completes. The stores of a record wait for one line
//! after the other; a series of stores, one to each line, waits for all lines together. A hint
//! (`prefetchw`) has no effect on some processors while the producer's processor has a copy, too.

use super::memory::{Ring, SMALL};
use super::producer::{Place, Producer};

/// Bytes that are fetched at a time (`benches/README.md`, "Fetching ahead").
const AHEAD: u32 = 512;

/// Bytes of a line, or of a part of one.
const FETCHED: u32 = 64;

/// Whether lines are fetched ahead at all.
const FETCHES: bool = !SMALL && !cfg!(feature = "noncoherent");

impl Producer<'_> {
    /// Copies `record` to its place. Fetches lines ahead if it is long.
    #[cfg_attr(not(feature = "small"), inline(always))]
    #[cfg_attr(feature = "small", inline(never))]
    pub(super) fn copy_payload(&mut self, place: Place, record: &[u8]) {
        let position = Ring::payload(place.position);
        if FETCHES && record.len() >= AHEAD as usize {
            return self.copy_in_parts(position, record);
        }
        self.ring.data.write(position, record);
    }

    /// Copies a record of [`AHEAD`] bytes or more, and fetches each part ahead.
    #[inline(never)]
    fn copy_in_parts(&mut self, position: u32, record: &[u8]) {
        // The consumer polls the line of the header meanwhile: write the rest of that line last.
        let (first, rest) = record.split_at((FETCHED - position % FETCHED) as usize);
        let mut at = position.wrapping_add(first.len() as u32);
        for part in rest.chunks(AHEAD as usize) {
            let end = at.wrapping_add(part.len() as u32);
            self.fetch_ahead(end);
            self.ring.data.write(at, part);
            at = end;
        }
        self.ring.data.write(position, first);
    }

    /// Fetches the lines after the records from `start` to `end`, unless these are long: either
    /// their copy fetched ahead, or the caller wrote them in place and will probably write the next
    /// record in place, too.
    #[inline(always)]
    pub(super) fn fetch_after(&mut self, start: u32, end: u32) {
        if end.wrapping_sub(start) < AHEAD {
            self.fetch_ahead(end);
        }
    }

    /// Fetches the lines after `end` if fewer than [`AHEAD`] bytes were fetched.
    #[inline(always)]
    pub(super) fn fetch_ahead(&mut self, end: u32) {
        if FETCHES && (self.fetched.wrapping_sub(end) as i32) < AHEAD as i32 {
            self.fetch(end);
        }
    }

    /// Stores a word into each of those lines.
    #[inline(never)]
    fn fetch(&mut self, end: u32) {
        if !self.claim.is_ours() {
            return; // The next check reports it.
        }
        let data = &self.ring.data;
        let ahead = (self.fetched.wrapping_sub(end) as i32).max(0) as u32;
        let start = end.wrapping_add(ahead + FETCHED - 1) & !(FETCHED - 1);
        // Free bytes only (R3). The first can be the header at `end`, which must be 0 (R4).
        let free = self.head.wrapping_add(data.len()).wrapping_sub(start) as i32;
        let lines = (free.max(0) as u32 / FETCHED).min(AHEAD / FETCHED);
        for line in 0..lines {
            data.write(start.wrapping_add(line * FETCHED), &[0; 8]);
        }
        self.fetched = start.wrapping_add(lines * FETCHED);
    }
}
