//! How long a consumer that has caught up with its producer leaves it alone.
//!
//! A consumer that is close to its producer reads each line while it is written: for one
//! record or two both wait until the line has moved from one processor to the other,
//! and back. After a short pause there are many records, and neither waits. How long it has
//! to be depends on how long a move takes: a pause is doubled as long as that brings clearly
//! more than twice as many bytes. Where it brings nothing, because the producer waits for an
//! answer or has nothing to send, pauses are left out for longer and longer.

use core::hint::spin_loop;

/// The shortest pause, in turns of the processor's hint for loops that wait.
const LEAST: u32 = 30;

/// The longest: 2 to 5 microseconds.
const MOST: u32 = 120;

/// Records that make the shortest pause worth its time.
const WORTH: u32 = 2;

/// The most times that pauses stay as they are before a longer one is tried.
const REST: u32 = 1023;

pub(crate) struct Pace {
    /// Where we had caught up the last time.
    last: u32,
    /// How long we paused there; 0 if we did not.
    paused: u32,
    /// How long the next pause is; 0 if it is left out.
    pauses: u32,
    /// Whether `paused` is a length that is being tried, after half of it brought `base` bytes.
    tries: bool,
    base: u32,
    /// How many more times the length stays as it is.
    rest: u32,
    /// How many those were the last time.
    rested: u32,
}

impl Pace {
    pub(crate) fn new(position: u32) -> Self {
        Self {
            last: position,
            paused: 0,
            pauses: 0,
            tries: false,
            base: 0,
            rest: 0,
            rested: 0,
        }
    }

    /// Nothing is published at `position`. Pauses if more is likely to come, where records
    /// have `stride` bytes, and returns whether it is worth another look.
    pub(crate) fn pause(&mut self, position: u32, stride: u32) -> bool {
        let bytes = position.wrapping_sub(self.last);
        self.last = position;
        if bytes == 0 {
            // We wait for the producer, and are not to miss the next record.
            return false;
        }
        self.adjust(bytes, stride);
        for _ in 0..self.pauses {
            spin_loop();
        }
        self.paused = self.pauses;
        self.pauses != 0
    }

    /// Says whether the look after the pause found anything.
    pub(crate) fn note_result(&mut self, found: bool) {
        if !found {
            self.shorten(0);
        }
    }

    /// Goes by what was found since the last pause.
    fn adjust(&mut self, bytes: u32, stride: u32) {
        let paused = core::mem::take(&mut self.paused);
        let tried = core::mem::take(&mut self.tries);
        if paused != 0 && bytes / stride < WORTH {
            return self.shorten(0);
        }
        if tried && paused > LEAST && bytes / 11 <= self.base / 5 {
            return self.shorten(paused / 2);
        }
        if !tried && self.rest != 0 {
            self.rest -= 1;
            return;
        }
        if paused < MOST {
            self.base = bytes;
            self.pauses = (2 * paused).max(LEAST);
            self.tries = true;
        }
    }

    /// A longer pause than this brings nothing for now.
    fn shorten(&mut self, pauses: u32) {
        self.paused = 0;
        self.tries = false;
        self.pauses = pauses;
        self.rested = (2 * self.rested + 1).min(REST);
        self.rest = self.rested;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches up after so many bytes in records of 16, each time; the pauses that were made.
    fn pauses<const N: usize>(pace: &mut Pace, bytes: [u32; N]) -> [u32; N] {
        bytes.map(|bytes| {
            let position = pace.last.wrapping_add(bytes);
            match pace.pause(position, 16) {
                true => pace.paused,
                false => 0,
            }
        })
    }

    #[test]
    fn who_waits_for_the_first_record_never_pauses() {
        let mut pace = Pace::new(u32::MAX - 15);
        assert_eq!(pauses(&mut pace, [0, 0, 32, 0, 0]), [0, 0, LEAST, 0, 0]);
    }

    #[test]
    fn pauses_are_doubled_while_that_brings_more_than_twice_as_much() {
        let found = [16, 1000, 2500, 7000, 7000];
        assert_eq!(pauses(&mut Pace::new(0), found), [30, 60, 120, 120, 120]);
        // To 60 and back, and tried again later and later.
        let found = [16, 1000, 2000, 1000, 1000, 2000, 1000, 1000, 1000, 1000];
        let paused = [30, 60, 30, 30, 60, 30, 30, 30, 30, 60];
        assert_eq!(pauses(&mut Pace::new(0), found), paused);
    }

    #[test]
    fn where_pauses_bring_nothing_they_are_left_out_for_longer_and_longer() {
        let mut pace = Pace::new(0);
        for rest in [1, 3, 7, 15, 31, 63, 127, 255, 511, 1023, 1023] {
            assert_eq!(pauses(&mut pace, [16]), [LEAST]);
            pace.note_result(false);
            for _ in 0..rest {
                assert_eq!(pauses(&mut pace, [16]), [0]);
            }
        }
        // One record is nothing, too; the second is.
        let mut pace = Pace::new(0);
        assert_eq!(pauses(&mut pace, [16, 16, 16]), [LEAST, 0, 0]);
        assert_eq!(pauses(&mut pace, [16, 32]), [LEAST, 60]);
    }
}
