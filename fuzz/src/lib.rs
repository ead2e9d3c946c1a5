//! Common code of the targets: memory with arbitrary bytes, and a peer that changes it.
//!
//! The memory is on the heap, so that AddressSanitizer detects an access outside
//! it. A panic is a finding, and so is a call that never returns.

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
pub mod tables;

/// Extends the input to 1 KiB with bytes derived from it. So the short inputs with which a
/// fuzzer starts make as many steps as long ones.
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

/// Up to 23 elements, each number equally likely. (With `Vec`, `arbitrary` makes each further
/// element half as likely.)
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

/// True one time in eight, for actions that take long.
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

/// A store of the peer.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct PeerStore {
    /// The index of the word, modulo the number of words.
    pub at: u16,
    /// The value.
    pub word: Word,
}

/// A value that a hostile peer may store.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Word {
    /// Anything.
    Any(u32),
    /// A small multiple of 8: a plausible position or length.
    Small(u8),
    /// A small value: a count, a state, a flag.
    Tiny(u8),
    /// The header of a record of this many bytes.
    Record(u8),
    /// The header of padding of this many bytes.
    Padding(u16),
    /// A record's epochs, or two other numbers.
    Halves(u8, u8),
    /// An incarnation, with its flag or without.
    Incarnation(SmallIncarnation, bool),
    /// A link to a row, marked or not.
    Link {
        row: u8,
        generation: u8,
        marked: bool,
    },
}

/// One of a few incarnations, so that steps often use the same one.
#[derive(Arbitrary, Clone, Copy, Debug, Default)]
pub struct SmallIncarnation {
    partition: u8,
    number: u8,
}

impl SmallIncarnation {
    /// Returns the incarnation: number 1 to 4 of partition 1 to 4.
    pub fn incarnation(self) -> Incarnation {
        let (partition, number) = (self.partition % 4 + 1, self.number % 4 + 1);
        Incarnation::new(partition, number.into()).expect("neither is 0")
    }
}

impl Word {
    /// Returns the value to store.
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

impl PeerStore {
    /// Stores the word.
    pub fn apply(self, window: Window<'_>) {
        let at = usize::from(self.at) % (window.len() / 4) * 4;
        window.word(at).store(self.word.value(), Relaxed);
    }
}

/// Allocates `len` bytes and fills those from `kept` on with a repeated pattern out of `bytes`.
/// A control block that stays zeroed can be attached, so that the bytes after it are used.
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

/// Runs `work` while another thread makes `stores` repeatedly.
pub fn while_storing(window: Window<'_>, stores: &[PeerStore], work: impl FnOnce()) {
    let play = || stores.iter().for_each(|store| store.apply(window));
    while_running(play, work);
}

/// Runs `work` while another thread calls `play` repeatedly.
pub fn while_running(play: impl Fn() + Send, work: impl FnOnce()) {
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
        // The scope waits only for the closure; the leak check needs the thread to be gone.
        peer.join().expect("stores do not panic");
    });
}

/// A liveness that returns the answers of the input in a cycle, for any incarnation.
#[derive(Clone, Debug)]
pub struct RandomLiveness {
    answers: u32,
    asked: u32,
}

impl RandomLiveness {
    /// Returns a liveness with 16 answers, two bits each.
    pub fn new(answers: u32) -> Self {
        Self { answers, asked: 0 }
    }
}

impl Liveness for RandomLiveness {
    fn state(&mut self, _: Incarnation) -> PartitionState {
        self.asked = self.asked.wrapping_add(1);
        match self.answers >> (self.asked % 16 * 2) & 3 {
            0 => PartitionState::Alive,
            1 => PartitionState::Silent,
            _ => PartitionState::Gone,
        }
    }
}

/// A wait that times out after a number of pauses and never really sleeps.
#[derive(Debug)]
pub struct LimitedWait {
    left: u8,
    sleepy: bool,
}

impl LimitedWait {
    /// Returns a wait of `pauses` modulo 16 pauses. If `sleepy`, each pause asks for a sleep.
    pub fn new(pauses: u8, sleepy: bool) -> Self {
        let left = pauses % 16;
        Self { left, sleepy }
    }
}

impl Wait for LimitedWait {
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
