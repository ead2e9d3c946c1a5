//! What the targets share: memory full of somebody else's bytes.
//!
//! The memory is on the heap, so that AddressSanitizer sees an access outside
//! it; a panic is a finding; so is a call that never returns.

use std::sync::atomic::{
    AtomicBool, AtomicU32,
    Ordering::{Relaxed, Release},
};
use std::thread;

use arbitrary::{Arbitrary, Unstructured};
use shmem_core::mem::Heap;
use shmem_core::wait::{Pause, Wait};
use shmem_core::{Incarnation, Window};
use shmem_sync::{Liveness, PartitionState};

pub mod simulated;
pub mod spot;

/// The input, and behind it bytes that follow from it, 1 KiB in all: a short input,
/// which a fuzzer starts from, plays as much as a long one.
pub fn expand(data: &[u8]) -> Vec<u8> {
    const LEN: usize = 1024;
    // FNV-1a of the input, then xorshift.
    let mut state = data.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut bytes = data.to_vec();
    while bytes.len() < LEN {
        state = state.max(1);
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes
}

/// Up to 23 of something: the lengths that `arbitrary` gives to a `Vec` halve with
/// each element.
#[derive(Clone, Debug)]
pub struct Many<T>(Vec<T>);

impl<'a, T: Arbitrary<'a>> Arbitrary<'a> for Many<T> {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let count = bytes.arbitrary::<u8>()? % 24;
        (0..count)
            .map(|_| bytes.arbitrary())
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl<T> std::ops::Deref for Many<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

/// Something that takes long: one time in eight.
#[derive(Clone, Copy, Debug)]
pub struct Rarely(bool);

impl<'a> Arbitrary<'a> for Rarely {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        Ok(Self(bytes.arbitrary::<u8>()? % 8 == 1))
    }
}

impl std::ops::Deref for Rarely {
    type Target = bool;

    fn deref(&self) -> &bool {
        &self.0
    }
}

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
    /// Smaller: a count, a state, a flag.
    Tiny(u8),
    /// The header of a record of so many bytes.
    Record(u8),
    /// The header of padding of so many bytes.
    Padding(u16),
    /// A record's epochs, or two other numbers.
    Halves(u8, u8),
    /// An incarnation, with its flag or without.
    Incarnation(Who, bool),
    /// A link to a row, marked or not.
    Link {
        row: u8,
        generation: u8,
        marked: bool,
    },
}

/// One of a few incarnations, so that they meet.
#[derive(Arbitrary, Clone, Copy, Debug, Default)]
pub struct Who {
    partition: u8,
    number: u8,
}

impl Who {
    /// The incarnation: of partitions 1 to 4, numbered 1 to 4.
    pub fn incarnation(self) -> Incarnation {
        let (partition, number) = (self.partition % 4 + 1, self.number % 4 + 1);
        Incarnation::new(partition, number.into()).expect("neither is 0")
    }
}

impl Word {
    /// What is stored.
    pub fn value(self) -> u32 {
        match self {
            Self::Any(value) => value,
            Self::Small(value) => u32::from(value) * 8,
            Self::Tiny(value) => u32::from(value),
            Self::Record(len) => u32::from(len) << 2 | 1,
            Self::Padding(len) => u32::from(len) << 2 | 3,
            Self::Halves(low, high) => u32::from(high) << 16 | u32::from(low),
            Self::Incarnation(who, flag) => who.incarnation().word() | u32::from(flag) << 31,
            Self::Link {
                row,
                generation,
                marked,
            } => u32::from(marked) << 31 | u32::from(generation) << 17 | u32::from(row),
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
    let play = || scribbles.iter().for_each(|scribble| scribble.apply(window));
    while_playing(play, work);
}

/// Runs `work` while another thread does `play` over and over.
pub fn while_playing(play: impl Fn() + Send, work: impl FnOnce()) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let stop = &stop;
        let peer = scope.spawn(move || {
            while !stop.load(Relaxed) {
                play();
            }
        });
        work();
        stop.store(true, Release);
        // The scope alone waits for the closure; the leak check wants the thread gone.
        peer.join().expect("scribbling does not panic");
    });
}

/// Says of each incarnation what the input says next, again from the start at its end.
#[derive(Clone, Debug)]
pub struct Oracle {
    answers: u32,
    asked: u32,
}

impl Oracle {
    /// With 32 answers.
    pub fn new(answers: u32) -> Self {
        Self { answers, asked: 0 }
    }
}

impl Liveness for Oracle {
    fn state(&mut self, _: Incarnation) -> PartitionState {
        self.asked = self.asked.wrapping_add(1);
        match self.answers >> (self.asked % 16 * 2) & 3 {
            0 => PartitionState::Alive,
            1 => PartitionState::Silent,
            _ => PartitionState::Gone,
        }
    }
}

/// A wait that ends after a number of pauses, asleep or awake, and sleeps no time.
#[derive(Debug)]
pub struct Limited {
    left: u8,
    sleepy: bool,
}

impl Limited {
    /// So many pauses, up to 15; `sleepy` ones would rather sleep.
    pub fn new(pauses: u8, sleepy: bool) -> Self {
        let left = pauses % 16;
        Self { left, sleepy }
    }
}

impl Wait for Limited {
    fn pause(&mut self) -> Pause {
        let Some(left) = self.left.checked_sub(1) else {
            return Pause::TimedOut;
        };
        self.left = left;
        match self.sleepy {
            true => Pause::Sleep,
            false => Pause::Again,
        }
    }

    fn sleep(&mut self, _: &AtomicU32, _: u32) {}
}
