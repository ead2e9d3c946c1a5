//! A platform whose clock goes on when it is looked at, and on which a peer stores into the
//! rings and the call line of a channel meanwhile.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use arbitrary::Arbitrary;
use memoffset::offset_of;
use shmem_channel::{Error, Platform, Reason};
use shmem_core::call::SEGMENT_LEN;
use shmem_core::layout::CallControl;
use shmem_core::ring::Ring;
use shmem_core::{Incarnation, PartitionState, Window};
use shmem_registry::Registry;

use crate::Scribble;

/// Bytes of a ring.
pub const CAPACITY: usize = 256;
/// The longest timeout, in milliseconds.
pub const LONGEST: u8 = 15;

/// How much later it is at each look at the clock.
const TICK: Duration = Duration::from_micros(100);
/// Looks at the clock in one call, at the most: until the longest timeout has passed, and
/// some more.
const LOOKS: u32 = 200;

/// A word that the peer stores into the channel.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Stroke {
    /// Into the result ring, or into the command ring.
    Ring(bool, Scribble),
    /// Into any word of the call line.
    Line(Scribble),
    /// The number of a call that is asked or answered, which is nearly right.
    Number(bool, Near),
    /// The length of a command or an answer.
    Length(bool, Length),
}

/// A number near that of the last call that was made, by the ring or by the line.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Near(bool, u8);

/// A length that a command or an answer in the call line may have, or just not.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Length {
    /// A short one.
    Short(u8),
    /// The longest one.
    Longest,
    /// One more than the longest.
    TooLong,
    /// That of an answer which is elsewhere.
    Elsewhere,
}

impl Length {
    /// It as a word.
    pub fn value(self) -> u32 {
        match self {
            Self::Short(len) => u32::from(len) % 24,
            Self::Longest => 24,
            Self::TooLong => 25,
            Self::Elsewhere => u32::MAX,
        }
    }
}

/// A platform whose clock goes on at each look, at which the peer stores something.
pub struct Simulated<'i, 'm> {
    memory: Window<'m>,
    /// Looks at the clock.
    looks: AtomicU32,
    /// Sleeps, each of a tick.
    sleeps: AtomicU32,
    /// Which partitions are gone.
    over: u32,
    during: &'i [Stroke],
    /// Where the rings and the call line are that the peer stores into; 0 if it does not.
    segments: [AtomicUsize; 3],
    /// The number of the last call that was made by the ring.
    pub by_ring: AtomicU32,
}

impl<'i, 'm> Simulated<'i, 'm> {
    /// A platform on `memory`, on which `over` says which partitions are gone.
    pub fn new(memory: Window<'m>, over: u32, during: &'i [Stroke]) -> Self {
        Self {
            memory,
            looks: AtomicU32::new(0),
            sleeps: AtomicU32::new(0),
            over,
            during,
            segments: [0, 0, 0].map(AtomicUsize::new),
            by_ring: AtomicU32::new(0),
        }
    }

    /// From now on the peer stores into the command ring, the result ring and the call line at
    /// these offsets; nowhere if they are 0.
    pub fn begin(&self, segments: [usize; 3]) {
        for (segment, offset) in self.segments.iter().zip(segments) {
            segment.store(offset, Relaxed);
        }
    }

    /// The command ring and the result ring.
    pub fn rings(&self) -> [Window<'m>; 2] {
        let ring = |ring: &AtomicUsize| {
            let segment = self
                .memory
                .sub(ring.load(Relaxed), Ring::segment_len(CAPACITY));
            segment.expect("inside the memory")
        };
        [ring(&self.segments[0]), ring(&self.segments[1])]
    }

    /// The call line.
    fn line(&self) -> Window<'m> {
        let segment = self.memory.sub(self.segments[2].load(Relaxed), SEGMENT_LEN);
        segment.expect("inside the memory")
    }

    /// The number that the peer takes for near.
    fn number(&self, Near(by_ring, more): Near) -> u32 {
        let asked = self.line().word(offset_of!(CallControl, asked));
        let last = match by_ring {
            true => self.by_ring.load(Relaxed),
            false => asked.load(Relaxed),
        };
        last.wrapping_add(u32::from(more) % 4).wrapping_sub(1)
    }

    /// The peer stores a word.
    pub fn apply(&self, stroke: Stroke) {
        let (at, value) = match stroke {
            Stroke::Ring(result, scribble) => {
                return scribble.apply(self.rings()[usize::from(result)]);
            }
            Stroke::Line(scribble) => return scribble.apply(self.line()),
            Stroke::Number(true, near) => (offset_of!(CallControl, answered), self.number(near)),
            Stroke::Number(false, near) => (offset_of!(CallControl, asked), self.number(near)),
            Stroke::Length(true, len) => (offset_of!(CallControl, answer_len), len.value()),
            Stroke::Length(false, len) => (offset_of!(CallControl, command_len), len.value()),
        };
        self.line().word(at).store(value, Relaxed);
    }

    /// The peer answers, or asks, in the call line as it should, but for the number and the
    /// length. The bytes begin with the number.
    pub fn use_line(&self, answers: bool, near: Near, len: Length) {
        let number = self.number(near);
        let bytes = match answers {
            true => offset_of!(CallControl, answer),
            false => offset_of!(CallControl, command),
        };
        self.line().write(bytes, &tagged(number, 24));
        self.apply(Stroke::Length(answers, len));
        self.apply(Stroke::Number(answers, near));
    }

    /// The peer stores its word number `at`.
    fn scribble(&self, at: u32) {
        if self.segments[0].load(Relaxed) != 0 && !self.during.is_empty() {
            self.apply(self.during[at as usize % self.during.len()]);
        }
    }
}

/// Bytes that say for which call they are.
pub fn tagged(number: u32, len: usize) -> Vec<u8> {
    number.to_le_bytes().into_iter().cycle().take(len).collect()
}

impl Platform for Simulated<'_, '_> {
    fn now(&self) -> Duration {
        let looks = self.looks.fetch_add(1, Relaxed);
        // Not at each: what our end does then is seldom undone.
        if looks.is_multiple_of(4) {
            self.scribble(looks / 4);
        }
        TICK * (looks + self.sleeps.load(Relaxed))
    }

    fn sleep(&self, _: &AtomicU32, _: u32, _: Duration) {
        self.sleeps.fetch_add(1, Relaxed);
    }

    fn wake(&self, _: &AtomicU32, _: Reason) {
        self.scribble(self.looks.load(Relaxed));
    }

    fn state(&self, _: &Registry<'_>, partition: Incarnation) -> PartitionState {
        let at = u32::from(partition.partition()) + partition.number();
        match self.over >> (at % 32) & 1 {
            0 => PartitionState::Alive,
            _ => PartitionState::Gone,
        }
    }
}

/// One call of ours, whose clock and whose errors are watched.
pub struct Watched<'p, 'i, 'm> {
    platform: &'p Simulated<'i, 'm>,
    looks: u32,
    begun: Duration,
    /// The timeout that it is given.
    pub timeout: Duration,
}

impl<'p, 'i, 'm> Watched<'p, 'i, 'm> {
    /// A call begins that may take so many milliseconds.
    pub fn begin(platform: &'p Simulated<'i, 'm>, timeout: u8) -> Self {
        Self {
            platform,
            begun: platform.now(),
            looks: platform.looks.load(Relaxed),
            timeout: Duration::from_millis(u64::from(timeout % (LONGEST + 1))),
        }
    }

    /// The call has returned `error`, or none.
    pub fn end(&self, error: Option<&Error>) {
        let looks = self.platform.looks.load(Relaxed) - self.looks;
        assert!(looks < LOOKS, "{looks} looks until {error:?}");
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
