//! Fetches lines from the consumer's processor before the producer writes records there.
//! `ring::fetch` explains why.

use bytemuck::NoUninit;

use super::memory::SMALL;
use super::producer::TypedProducer;
use crate::mem::Slots;

/// Bytes that are fetched at a time (`benches/README.md`, "Fetching ahead").
const BYTES: usize = 512;

/// Whether lines are fetched ahead at all.
const FETCHES: bool = !SMALL && !cfg!(feature = "noncoherent");

impl<T: NoUninit> TypedProducer<'_, T> {
    /// Slots whose lines are fetched at a time; 0 if a record is longer than that: then
    /// its own lines are fetched while it is copied.
    const AHEAD: u32 = match FETCHES {
        true => (BYTES / Slots::<'static, T>::STRIDE) as u32,
        false => 0,
    };

    /// Copies `value` to the slot at `position`.
    #[inline(always)]
    pub(super) fn write(&mut self, position: u32, value: &T) {
        match FETCHES && Self::AHEAD == 0 {
            true => self.slots.write_by_parts(position, value, BYTES),
            false => self.slots.write(position, value),
        }
    }

    /// Copies `values` to the slots from `position` on. Fetches lines ahead if there are many.
    #[inline(always)]
    pub(super) fn write_all(&mut self, position: u32, values: &[T]) {
        if Self::AHEAD == 0 || values.len() <= Self::AHEAD as usize {
            return self.slots.write_all(position, values);
        }
        let mut at = position;
        for part in values.chunks(Self::AHEAD as usize) {
            let end = at.wrapping_add(part.len() as u32);
            self.fetch_ahead(end);
            self.slots.write_all(at, part);
            at = end;
        }
    }

    /// Fetches the lines of the slots from `end` on, if fewer than `AHEAD` slots were fetched.
    #[inline(always)]
    pub(super) fn fetch_ahead(&mut self, end: u32) {
        if Self::AHEAD != 0 && (self.fetched.wrapping_sub(end) as i32) < Self::AHEAD as i32 {
            self.fetch(end);
        }
    }

    /// Stores a word into each of those lines.
    #[inline(never)]
    fn fetch(&mut self, end: u32) {
        if !self.claim.is_ours() {
            return; // The next check reports it.
        }
        let ahead = (self.fetched.wrapping_sub(end) as i32).max(0) as u32;
        let start = end.wrapping_add(ahead);
        // Free slots only (P3).
        let free = self.head.wrapping_add(self.slots.len()).wrapping_sub(start) as i32;
        let count = (free.max(0) as u32).min(Self::AHEAD);
        self.slots.touch(start, count);
        self.fetched = start.wrapping_add(count);
    }
}
