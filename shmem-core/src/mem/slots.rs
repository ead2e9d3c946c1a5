//! A circular window of slots for values of one type.

use core::marker::PhantomData;
use core::mem::size_of;

use bytemuck::{AnyBitPattern, NoUninit};

use super::Window;
use crate::primitive::Memory;

/// Bytes of a line, or of a part of one.
const LINE: usize = 64;

/// A power of two of slots, addressed by positions modulo their number, so that a position
/// needs no bounds check. A value fills the start of its slot; the rest, up to a multiple of 8
/// bytes, is zero.
///
/// - **S1** `memory` is mapped for `(mask + 1) * STRIDE` bytes from an 8-byte aligned base, for
///   `'m`.
/// - **S2** `mask + 1` is a power of two.
pub(crate) struct Slots<'m, T> {
    memory: Memory<'m>,
    mask: u32,
    values: PhantomData<fn() -> T>,
}

impl<T> Clone for Slots<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Slots<'_, T> {}

impl<'m, T> Slots<'m, T> {
    /// Bytes from one slot to the next.
    pub(crate) const STRIDE: usize = (size_of::<T>() + 7) & !7;

    /// Bytes of a value in whole words.
    const WHOLE: usize = size_of::<T>() & !7;

    /// Returns all of `window`, if it has a power of two of slots, at most 2^31.
    pub(crate) fn new(window: Window<'m>) -> Option<Self> {
        let slots = window.len().checked_div(Self::STRIDE)?;
        let is_whole = slots * Self::STRIDE == window.len();
        let slots = u32::try_from(slots).ok()?;
        (is_whole && slots.is_power_of_two()).then(|| Self {
            memory: window.memory(),
            mask: slots - 1,
            values: PhantomData,
        })
    }

    /// Returns the number of slots.
    #[inline(always)]
    pub(crate) fn len(self) -> u32 {
        self.mask + 1
    }

    /// Returns the number of slots from the one at `position` to the last one.
    #[inline(always)]
    fn to_end(self, position: u32) -> usize {
        (self.len() - (position & self.mask)) as usize
    }

    #[inline(always)]
    fn slot(self, position: u32) -> Memory<'m> {
        // SAFETY: S1; the masked position is at most the last slot (S2).
        unsafe {
            self.memory
                .add((position & self.mask) as usize * Self::STRIDE)
        }
    }
}

impl<T: NoUninit> Slots<'_, T> {
    /// Copies `value` to the slot at `position`. By protocol the slot belongs to the caller, and a
    /// later store publishes it.
    #[inline(always)]
    pub(crate) fn write(self, position: u32, value: &T) {
        let whole = &bytemuck::bytes_of(value)[..Self::WHOLE];
        // SAFETY: S1; `WHOLE` is at most `STRIDE`.
        unsafe { self.slot(position).write_unpublished(0, whole) };
        self.write_rest(position, value);
    }

    /// As [`Slots::write`], in parts of `part` bytes. Before each part it stores a word into
    /// each line of the next part: see `ring::fetch`.
    #[inline(always)]
    pub(crate) fn write_by_parts(self, position: u32, value: &T, part: usize) {
        let slot = self.slot(position);
        let touch = |from: usize| {
            for line in (from..Self::WHOLE.min(from + part)).step_by(LINE) {
                // SAFETY: S1; a multiple of 8 bytes, before `WHOLE`.
                let word = unsafe { slot.add(line) };
                // SAFETY: as above.
                unsafe { word.write_unpublished(0, &[0; 8]) };
            }
        };
        touch(0);
        for (bytes, at) in bytemuck::bytes_of(value)[..Self::WHOLE]
            .chunks(part)
            .zip(0..)
        {
            touch((at + 1) * part);
            // SAFETY: S1; inside the slot, and `part` is a multiple of 8.
            let to = unsafe { slot.add(at * part) };
            // SAFETY: as above.
            unsafe { to.write_unpublished(0, bytes) };
        }
        self.write_rest(position, value);
    }

    /// Copies the bytes of `value` after its whole words.
    #[inline(always)]
    fn write_rest(self, position: u32, value: &T) {
        let rest = &bytemuck::bytes_of(value)[Self::WHOLE..];
        if !rest.is_empty() {
            // Store a whole word, which loads nothing from the line.
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            // SAFETY: S1; `WHOLE + 8` is `STRIDE`.
            unsafe { self.slot(position).write_unpublished(Self::WHOLE, &word) };
        }
    }

    /// Copies `values` to the slots from `position` on; as [`Slots::write`] for each.
    #[inline(always)]
    pub(crate) fn write_all(self, position: u32, values: &[T]) {
        if Self::WHOLE != Self::STRIDE {
            for (value, at) in values.iter().zip(0..) {
                self.write(position.wrapping_add(at), value);
            }
            return;
        }
        let (first, second) = values.split_at(values.len().min(self.to_end(position)));
        // SAFETY: S1; at most the slots up to the last one.
        unsafe {
            self.slot(position)
                .write_unpublished(0, bytemuck::cast_slice(first))
        };
        if !second.is_empty() {
            let second = &second[..second.len().min(self.len() as usize)];
            // SAFETY: S1; at most all slots.
            unsafe {
                self.memory
                    .write_unpublished(0, bytemuck::cast_slice(second))
            };
        }
    }

    /// Stores a zero word into each line that begins in the `count` slots from `position` on.
    /// By protocol these slots belong to the caller.
    #[inline(always)]
    pub(crate) fn touch(self, position: u32, count: u32) {
        let end = position.wrapping_add(count);
        let mut at = position;
        while at != end {
            // First up to the last slot, then from the first one.
            let part = (self.to_end(at) as u32).min(end.wrapping_sub(at));
            let start = (at & self.mask) as usize * Self::STRIDE;
            let bytes = part as usize * Self::STRIDE;
            let mut line = (start + LINE - 1) & !(LINE - 1);
            while line < start + bytes {
                // SAFETY: S1; a multiple of 8 bytes, inside these slots.
                let word = unsafe { self.memory.add(line) };
                // SAFETY: as above.
                unsafe { word.write_unpublished(0, &[0; 8]) };
                line += LINE;
            }
            at = at.wrapping_add(part);
        }
    }
}

impl<T: AnyBitPattern + NoUninit> Slots<'_, T> {
    /// Copies the value in the slot at `position` to `value`.
    #[inline(always)]
    pub(crate) fn read(self, position: u32, value: &mut T) {
        let bytes = bytemuck::bytes_of_mut(value);
        // SAFETY: S1; a value is at most `STRIDE` bytes.
        unsafe { self.slot(position).read(0, bytes) };
    }

    /// Copies the values from `position` on into `values`.
    #[inline(always)]
    pub(crate) fn read_all(self, position: u32, values: &mut [T]) {
        if Self::WHOLE != Self::STRIDE {
            for (value, at) in values.iter_mut().zip(0..) {
                self.read(position.wrapping_add(at), value);
            }
            return;
        }
        let first = values.len().min(self.to_end(position));
        let (first, second) = values.split_at_mut(first);
        // SAFETY: S1; at most the slots up to the last one.
        unsafe { self.slot(position).read(0, bytemuck::cast_slice_mut(first)) };
        if !second.is_empty() {
            let len = second.len().min(self.len() as usize);
            // SAFETY: S1; at most all slots.
            unsafe {
                self.memory
                    .read(0, bytemuck::cast_slice_mut(&mut second[..len]))
            };
        }
    }
}
