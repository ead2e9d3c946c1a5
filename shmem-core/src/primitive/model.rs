//! Shared bytes in a loom model: for each eight bytes, two atomic words and one
//! plain cell.
//!
//! Bytes that by protocol belong to one partition go through the plain cell, so
//! that loom reports a race if the protocol is wrong. They are mirrored into
//! the atomic words, so that old bytes can be misread as a control word, as
//! on the machine.

use alloc::vec::Vec;
use core::ptr::NonNull;

use loom::cell::UnsafeCell;
use loom::sync::atomic::{
    AtomicU32,
    Ordering::{self, Relaxed},
};

struct Slot {
    words: [AtomicU32; 2],
    bytes: UnsafeCell<[u8; 8]>,
}

/// Zeroed bytes inside a loom model.
pub(crate) struct HeapBytes {
    slots: Vec<Slot>,
}

// SAFETY: the plain cells are loom's, which checks every access to them.
unsafe impl Sync for HeapBytes {}
// SAFETY: as for `Sync`.
unsafe impl Send for HeapBytes {}

impl HeapBytes {
    /// Allocates `len` zeroed bytes.
    pub(crate) fn new(len: usize) -> Self {
        let slot = |_| Slot {
            words: [AtomicU32::new(0), AtomicU32::new(0)],
            bytes: UnsafeCell::new([0; 8]),
        };
        Self {
            slots: (0..len.div_ceil(8)).map(slot).collect(),
        }
    }

    pub(crate) fn memory(&self) -> Bytes<'_> {
        Bytes {
            slots: &self.slots,
            base: 0,
        }
    }
}

/// Accessor of model bytes. An access out of range panics.
#[derive(Clone, Copy)]
pub(crate) struct Bytes<'m> {
    slots: &'m [Slot],
    base: usize,
}

// The functions below are unsafe only because those of the machine's `Bytes` are.
// relaxed in all of this: as on the machine; the models test the orderings of the callers.
impl<'m> Bytes<'m> {
    pub(super) unsafe fn new(_: NonNull<u8>) -> Self {
        unimplemented_in_models()
    }

    pub(super) unsafe fn add(self, offset: usize) -> Self {
        Self {
            base: self.base + offset,
            ..self
        }
    }

    pub(super) fn address(self) -> NonNull<u8> {
        NonNull::dangling()
    }

    pub(super) unsafe fn word(self) -> &'m AtomicU32 {
        &self.slots[self.base / 8].words[self.base % 8 / 4]
    }

    pub(super) unsafe fn load_pair(self, order: Ordering) -> [u32; 2] {
        let [first, second] = &self.slots[self.base / 8].words;
        let first = u32::from_le(first.load(order));
        [first, u32::from_le(second.load(Relaxed))]
    }

    pub(super) unsafe fn store_pair(self, words: [u32; 2], order: Ordering) {
        let [first, second] = &self.slots[self.base / 8].words;
        second.store(words[1].to_le(), Relaxed);
        first.store(words[0].to_le(), order);
    }

    pub(super) unsafe fn write(self, skip: usize, bytes: &[u8]) {
        for (index, &byte) in bytes.iter().enumerate() {
            let at = self.base + skip + index;
            let slot = &self.slots[at / 8];
            let value = slot.bytes.with_mut(|cell| {
                // SAFETY: loom checks that no other thread accesses the cell.
                let value = unsafe { &mut *cell };
                value[at % 8] = byte;
                *value
            });
            if at % 8 == 7 || index + 1 == bytes.len() {
                slot.mirror(value);
            }
        }
    }

    pub(super) unsafe fn read(self, skip: usize, bytes: &mut [u8]) {
        for (index, byte) in bytes.iter_mut().enumerate() {
            let at = self.base + skip + index;
            // SAFETY: loom checks that no other thread writes the cell.
            *byte = self.slots[at / 8]
                .bytes
                .with(|cell| unsafe { (*cell)[at % 8] });
        }
    }

    pub(super) unsafe fn write_shared(self, bytes: &[u8]) {
        for (index, word) in bytes.chunks(4).enumerate() {
            let mut value = [0; 4];
            value[..word.len()].copy_from_slice(word);
            // SAFETY: as on the machine.
            unsafe { self.add(index * 4).word() }.store(u32::from_ne_bytes(value), Relaxed);
        }
    }

    pub(super) unsafe fn read_shared(self, bytes: &mut [u8]) {
        for (index, word) in bytes.chunks_mut(4).enumerate() {
            // SAFETY: as on the machine.
            let value = unsafe { self.add(index * 4).word() }
                .load(Relaxed)
                .to_ne_bytes();
            word.copy_from_slice(&value[..word.len()]);
        }
    }
}

impl Slot {
    // relaxed in all of this: payload, as in `Bytes`.
    fn mirror(&self, value: [u8; 8]) {
        for (word, half) in self.words.iter().zip(value.chunks(4)) {
            let mut bytes = [0; 4];
            bytes.copy_from_slice(half);
            word.store(u32::from_ne_bytes(bytes), Relaxed);
        }
    }
}

fn unimplemented_in_models() -> ! {
    panic!("a model has no mapped memory: use Heap")
}
