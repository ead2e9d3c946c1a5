//! The limit: a bare cache line going to and fro.

use std::hint::spin_loop;
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Release},
};
use std::time::Duration;

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
