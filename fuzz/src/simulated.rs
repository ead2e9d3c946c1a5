//! A simulated platform. Each read of its clock advances the clock, and a peer stores into the
//! rings and the call line of a channel meanwhile.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use arbitrary::Arbitrary;
use memoffset::offset_of;
use shmem_channel::{Error, Platform, WakeReason};
use shmem_core::call::SEGMENT_LEN;
use shmem_core::layout::CallControl;
use shmem_core::ring::Ring;
use shmem_core::{Incarnation, PartitionState, Window};
use shmem_registry::Registry;

use crate::PeerStore;

/// Bytes of a ring.
pub const CAPACITY: usize = 256;
/// The longest timeout, in milliseconds.
pub const LONGEST: u8 = 15;

/// How far each read advances the clock.
const TICK: Duration = Duration::from_micros(100);
/// The most reads of the clock in one call: enough for the longest timeout, and some more.
const MAX_CLOCK_READS: u32 = 200;

/// A word that the peer stores into the channel.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum ChannelStore {
    /// Into the result ring if true, otherwise into the command ring.
    Ring(bool, PeerStore),
    /// Into any word of the call line.
    Line(PeerStore),
    /// A nearly right number: of the answered call if true, otherwise of the asked one.
    Number(bool, Near),
    /// The length of an answer if true, otherwise of a command.
    Length(bool, Length),
}

/// A number near that of the last call: by the ring if true, otherwise by the line.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Near(bool, u8);

/// A length for a command or an answer in the call line: valid, or just invalid.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Length {
    /// A short one.
    Short(u8),
    /// The longest one.
    Longest,
    /// One more than the longest.
    TooLong,
    /// The length that marks an answer outside the line.
    Elsewhere,
}

impl Length {
    /// Returns the length as a word.
    pub fn value(self) -> u32 {
        match self {
            Self::Short(len) => u32::from(len) % 24,
            Self::Longest => 24,
            Self::TooLong => 25,
            Self::Elsewhere => u32::MAX,
        }
    }
}

/// A platform whose clock advances at each read. The peer stores at some of the reads.
pub struct Simulated<'i, 'm> {
    memory: Window<'m>,
    /// The number of reads of the clock.
    clock_reads: AtomicU32,
    /// The number of sleeps, each of one tick.
    sleeps: AtomicU32,
    /// The incarnations that are gone, one bit for each sum of partition and number.
    gone: u32,
    during: &'i [ChannelStore],
    /// Offsets of the rings and the call line that the peer stores into; 0 if it does not.
    segments: [AtomicUsize; 3],
    /// The number of the last call that was made by the ring.
    pub by_ring: AtomicU32,
}

impl<'i, 'm> Simulated<'i, 'm> {
    /// Returns a platform on `memory`. A bit of `gone` is set for each incarnation that is gone.
    pub fn new(memory: Window<'m>, gone: u32, during: &'i [ChannelStore]) -> Self {
        Self {
            memory,
            clock_reads: AtomicU32::new(0),
            sleeps: AtomicU32::new(0),
            gone,
            during,
            segments: [0, 0, 0].map(AtomicUsize::new),
            by_ring: AtomicU32::new(0),
        }
    }

    /// Lets the peer store into the command ring, the result ring and the call line at these
    /// offsets from now on; nowhere if they are 0.
    pub fn begin(&self, segments: [usize; 3]) {
        for (segment, offset) in self.segments.iter().zip(segments) {
            segment.store(offset, Relaxed);
        }
    }

    /// Returns the command ring and the result ring.
    pub fn rings(&self) -> [Window<'m>; 2] {
        let ring = |ring: &AtomicUsize| {
            let segment = self
                .memory
                .sub(ring.load(Relaxed), Ring::segment_len(CAPACITY));
            segment.expect("inside the memory")
        };
        [ring(&self.segments[0]), ring(&self.segments[1])]
    }

    /// Returns the call line.
    fn line(&self) -> Window<'m> {
        let segment = self.memory.sub(self.segments[2].load(Relaxed), SEGMENT_LEN);
        segment.expect("inside the memory")
    }

    /// Returns the number that `Near` stands for.
    fn number(&self, Near(by_ring, more): Near) -> u32 {
        let asked = self.line().word(offset_of!(CallControl, asked));
        let last = match by_ring {
            true => self.by_ring.load(Relaxed),
            false => asked.load(Relaxed),
        };
        last.wrapping_add(u32::from(more) % 4).wrapping_sub(1)
    }

    /// Stores a word on behalf of the peer.
    pub fn apply(&self, store: ChannelStore) {
        let (at, value) = match store {
            ChannelStore::Ring(result, store) => {
                return store.apply(self.rings()[usize::from(result)]);
            }
            ChannelStore::Line(store) => return store.apply(self.line()),
            ChannelStore::Number(true, near) => {
                (offset_of!(CallControl, answered), self.number(near))
            }
            ChannelStore::Number(false, near) => {
                (offset_of!(CallControl, asked), self.number(near))
            }
            ChannelStore::Length(true, len) => (offset_of!(CallControl, answer_len), len.value()),
            ChannelStore::Length(false, len) => (offset_of!(CallControl, command_len), len.value()),
        };
        self.line().word(at).store(value, Relaxed);
    }

    /// Answers, or asks, in the call line on behalf of the peer. Only the number and the length
    /// may be wrong. The bytes begin with the number.
    pub fn use_line(&self, answers: bool, near: Near, len: Length) {
        let number = self.number(near);
        let bytes = match answers {
            true => offset_of!(CallControl, answer),
            false => offset_of!(CallControl, command),
        };
        self.line().write(bytes, &tagged(number, 24));
        self.apply(ChannelStore::Length(answers, len));
        self.apply(ChannelStore::Number(answers, near));
    }

    /// Makes the store number `at` of the peer.
    fn store(&self, at: u32) {
        if self.segments[0].load(Relaxed) != 0 && !self.during.is_empty() {
            self.apply(self.during[at as usize % self.during.len()]);
        }
    }
}

/// Returns `len` bytes that repeat the number of a call.
pub fn tagged(number: u32, len: usize) -> Vec<u8> {
    number.to_le_bytes().into_iter().cycle().take(len).collect()
}

impl Platform for Simulated<'_, '_> {
    fn now(&self) -> Duration {
        let clock_reads = self.clock_reads.fetch_add(1, Relaxed);
        // Not at each read, so that our end can make several steps in between.
        if clock_reads.is_multiple_of(4) {
            self.store(clock_reads / 4);
        }
        TICK * (clock_reads + self.sleeps.load(Relaxed))
    }

    fn sleep(&self, _: &AtomicU32, _: u32, _: Duration) {
        self.sleeps.fetch_add(1, Relaxed);
    }

    fn wake(&self, _: &AtomicU32, _: WakeReason) {
        self.store(self.clock_reads.load(Relaxed));
    }

    fn state(&self, _: &Registry<'_>, partition: Incarnation) -> PartitionState {
        let at = u32::from(partition.partition()) + partition.number();
        match self.gone >> (at % 32) & 1 {
            0 => PartitionState::Alive,
            _ => PartitionState::Gone,
        }
    }
}

/// One call of ours, whose duration and errors are checked.
pub struct CheckedCall<'p, 'i, 'm> {
    platform: &'p Simulated<'i, 'm>,
    clock_reads: u32,
    begun: Duration,
    /// The timeout of the call.
    pub timeout: Duration,
}

impl<'p, 'i, 'm> CheckedCall<'p, 'i, 'm> {
    /// Begins a call with a timeout of `timeout` milliseconds, modulo the longest.
    pub fn begin(platform: &'p Simulated<'i, 'm>, timeout: u8) -> Self {
        Self {
            platform,
            begun: platform.now(),
            clock_reads: platform.clock_reads.load(Relaxed),
            timeout: Duration::from_millis(u64::from(timeout % (LONGEST + 1))),
        }
    }

    /// Ends the call, which has returned `error` or succeeded.
    pub fn end(&self, error: Option<&Error>) {
        let clock_reads = self.platform.clock_reads.load(Relaxed) - self.clock_reads;
        assert!(
            clock_reads < MAX_CLOCK_READS,
            "{clock_reads} clock reads until {error:?}"
        );
        let Some(error) = error else {
            return;
        };
        assert!(!error.to_string().is_empty());
        let time = self.platform.now() - self.begun;
        let is_early = *error == Error::TimedOut && time < self.timeout;
        assert!(
            !is_early,
            "it timed out after {time:?} of {:?}",
            self.timeout
        );
    }
}
