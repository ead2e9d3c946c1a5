//! What the targets share: memory full of somebody else's bytes.
//!
//! The memory is on the heap, so that AddressSanitizer sees an access outside
//! it; a panic is a finding; so is a call that never returns.

use std::sync::atomic::{
    AtomicBool,
    Ordering::{Relaxed, Release},
};
use std::thread;

use arbitrary::{Arbitrary, Unstructured};
use shmem_core::Window;
use shmem_core::mem::Heap;

/// A word that the peer stores at some moment.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Scribble {
    /// Which word; taken modulo the number of words.
    pub at: u16,
    /// What it becomes.
    pub word: Word,
}

/// A value a peer would try.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Word {
    /// Anything.
    Any(u32),
    /// Small: a position or a length that may well be plausible.
    Small(u8),
    /// The header of a record of so many bytes.
    Record(u8),
    /// The header of padding of so many bytes.
    Padding(u16),
}

impl Word {
    /// What is stored.
    pub fn value(self) -> u32 {
        match self {
            Self::Any(value) => value,
            Self::Small(value) => u32::from(value) * 8,
            Self::Record(len) => u32::from(len) << 2 | 1,
            Self::Padding(len) => u32::from(len) << 2 | 3,
        }
    }
}

impl Scribble {
    /// Stores the word.
    pub fn apply(self, window: Window<'_>) {
        let at = usize::from(self.at) % (window.len() / 4) * 4;
        window.word(at).store(self.word.value(), Relaxed);
    }
}

/// Memory of `len` bytes, of which those from `kept` are filled with bytes out
/// of `bytes`, again and again: a control block left zeroed can be attached, and
/// what stands behind it is looked at.
pub fn memory(len: usize, kept: usize, bytes: &mut Unstructured<'_>) -> Heap {
    let heap = Heap::new(len);
    let size = usize::from(bytes.arbitrary::<u16>().unwrap_or(0)).min(bytes.len());
    let pattern = bytes.bytes(size).unwrap_or(&[]);
    let window = heap.window();
    let room = window.len().saturating_sub(kept);
    if !pattern.is_empty() && room != 0 {
        let image: Vec<u8> = pattern.iter().copied().cycle().take(room).collect();
        window.write(kept, &image);
    }
    heap
}

/// Runs `work` while another thread plays `scribbles` over and over.
pub fn while_scribbling(window: Window<'_>, scribbles: &[Scribble], work: impl FnOnce()) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let peer = scope.spawn(|| {
            while !stop.load(Relaxed) {
                for scribble in scribbles {
                    scribble.apply(window);
                }
            }
        });
        work();
        stop.store(true, Release);
        // The scope alone waits for the closure; the leak check wants the thread gone.
        peer.join().expect("scribbling does not panic");
    });
}
