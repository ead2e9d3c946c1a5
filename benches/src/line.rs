//! The limits: a bare cache line that goes back and forth, and bare exchanges in it.

use std::hint::spin_loop;
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use std::time::{Duration, Instant};

use crate::race::race;

#[repr(align(128))]
#[derive(Default)]
struct Line(AtomicU64);

impl Line {
    fn wait(&self, number: u64) {
        while self.0.load(Acquire) != number {
            spin_loop();
        }
    }
}

/// Question and answer in one line.
pub fn one(count: u64) -> Duration {
    let line = Line::default();
    race(
        || {
            for n in 0..count {
                line.0.store(2 * n + 1, Release);
                line.wait(2 * n + 2);
            }
        },
        || {
            for n in 0..count {
                line.wait(2 * n + 1);
                line.0.store(2 * n + 2, Release);
            }
        },
    )
}

/// A line for the question and a line for the answer.
pub fn two(count: u64) -> Duration {
    let (question, answer) = (Line::default(), Line::default());
    race(
        || {
            for n in 1..=count {
                question.0.store(n, Release);
                answer.wait(n);
            }
        },
        || {
            for n in 1..=count {
                question.wait(n);
                answer.0.store(n, Release);
            }
        },
    )
}

/// The least that a lock does to its own line, on one thread: two exchanges, and a store to
/// protected memory between them.
pub fn exchanged(count: u64) -> Duration {
    let (lock, inside) = (Line::default(), Line::default());
    crate::race::pin(0);
    let start = Instant::now();
    for n in 0..count {
        let taken = lock.0.compare_exchange(0, 1, Acquire, Relaxed);
        inside.0.store(n, Relaxed);
        let released = lock.0.swap(0, Release);
        assert!(taken.is_ok() && released == 1);
    }
    start.elapsed()
}
