//! How long a consumer pauses after it has caught up with its producer.
//!
//! A consumer that is close to its producer reads each line while the producer writes it. For
//! every record or two, both wait until the line has moved from one processor to the other
//! and back. After a short pause there are many records, and neither waits. The best length
//! depends on how long such a move takes. The consumer doubles the pause while that brings
//! clearly more than twice as many bytes. If pauses bring nothing, because the producer waits
//! for an answer or has nothing to send, it skips them for longer and longer.

use core::hint::spin_loop;

/// The shortest pause, in executions of the processor's hint for spin loops.
const LEAST: u32 = 30;

/// The longest pause: 2 to 5 microseconds.
const MOST: u32 = 120;

/// The fewest records that make the shortest pause useful.
const WORTH: u32 = 2;

/// The most pauses of the same length before a longer one is tried.
const REST: u32 = 1023;

pub(crate) struct Pace {
    /// The position at which we had caught up the last time.
    last: u32,
    /// The length of the pause there; 0 if there was none.
    last_pause: u32,
    /// The length of the next pause; 0 to skip it.
    next_pause: u32,
    /// True if the length `last_pause` was a trial: half of it had brought `base` bytes.
    is_trial: bool,
    base: u32,
    /// The number of pauses for which the length still stays the same.
    rest: u32,
    /// The value from which `rest` counted down the last time.
    last_rest: u32,
}

impl Pace {
    pub(crate) fn new(position: u32) -> Self {
        Self {
            last: position,
            last_pause: 0,
            next_pause: 0,
            is_trial: false,
            base: 0,
            rest: 0,
            last_rest: 0,
        }
    }

    /// Pauses if more records are likely soon. Called when nothing is published at `position`;
    /// a record has `stride` bytes. Returns true if it paused: then check for records again.
    pub(crate) fn pause(&mut self, position: u32, stride: u32) -> bool {
        let bytes = position.wrapping_sub(self.last);
        self.last = position;
        if bytes == 0 {
            // We are waiting for the producer: do not delay the next record.
            return false;
        }
        self.adjust(bytes, stride);
        for _ in 0..self.next_pause {
            spin_loop();
        }
        self.last_pause = self.next_pause;
        self.next_pause != 0
    }

    /// Takes the result of the check after a pause: whether it found a record.
    pub(crate) fn note_result(&mut self, found: bool) {
        if !found {
            self.shorten(0);
        }
    }

    /// Adjusts the next pause to the `bytes` that were found since the last one.
    fn adjust(&mut self, bytes: u32, stride: u32) {
        let pause = core::mem::take(&mut self.last_pause);
        let was_trial = core::mem::take(&mut self.is_trial);
        if pause != 0 && bytes / stride < WORTH {
            return self.shorten(0);
        }
        if was_trial && pause > LEAST && bytes / 11 <= self.base / 5 {
            return self.shorten(pause / 2);
        }
        if !was_trial && self.rest != 0 {
            self.rest -= 1;
            return;
        }
        if pause < MOST {
            self.base = bytes;
            self.next_pause = (2 * pause).max(LEAST);
            self.is_trial = true;
        }
    }

    /// Sets the pause to `length`, and tries a longer one only after a growing number of pauses.
    fn shorten(&mut self, length: u32) {
        self.last_pause = 0;
        self.is_trial = false;
        self.next_pause = length;
        self.last_rest = (2 * self.last_rest + 1).min(REST);
        self.rest = self.last_rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches up after each number of bytes, in records of 16; returns the pauses.
    fn pauses<const N: usize>(pace: &mut Pace, bytes: [u32; N]) -> [u32; N] {
        bytes.map(|bytes| {
            let position = pace.last.wrapping_add(bytes);
            match pace.pause(position, 16) {
                true => pace.last_pause,
                false => 0,
            }
        })
    }

    #[test]
    fn a_consumer_that_waits_for_the_next_record_does_not_pause() {
        let mut pace = Pace::new(u32::MAX - 15);
        assert_eq!(pauses(&mut pace, [0, 0, 32, 0, 0]), [0, 0, LEAST, 0, 0]);
    }

    #[test]
    fn a_pause_doubles_while_that_brings_more_than_twice_as_many_bytes() {
        let found = [16, 1000, 2500, 7000, 7000];
        assert_eq!(pauses(&mut Pace::new(0), found), [30, 60, 120, 120, 120]);
        // 60 is tried and rejected, at growing intervals.
        let found = [16, 1000, 2000, 1000, 1000, 2000, 1000, 1000, 1000, 1000];
        let paused = [30, 60, 30, 30, 60, 30, 30, 30, 30, 60];
        assert_eq!(pauses(&mut Pace::new(0), found), paused);
    }

    #[test]
    fn useless_pauses_are_skipped_for_longer_and_longer() {
        let mut pace = Pace::new(0);
        for rest in [1, 3, 7, 15, 31, 63, 127, 255, 511, 1023, 1023] {
            assert_eq!(pauses(&mut pace, [16]), [LEAST]);
            pace.note_result(false);
            for _ in 0..rest {
                assert_eq!(pauses(&mut pace, [16]), [0]);
            }
        }
        // One record does not make a pause useful; two do.
        let mut pace = Pace::new(0);
        assert_eq!(pauses(&mut pace, [16, 16, 16]), [LEAST, 0, 0]);
        assert_eq!(pauses(&mut pace, [16, 32]), [LEAST, 60]);
    }
}
