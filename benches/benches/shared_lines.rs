//! Stores to lines that the other processor has read: the limit of a ring's producer, whose
//! lines were all read one lap ago. The time is per line.

use std::hint::{black_box, spin_loop};
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use std::time::{Duration, Instant};

use shmem_benches::race::race;
use shmem_benches::{Contender, harness};

/// Words of a line.
const LINE: usize = 8;
/// Lines of a lap.
const LINES: usize = 1024;
/// Lines that are stored to in a row before they are needed.
const BURST: usize = 8;

#[repr(align(4096))]
struct Lap([AtomicU64; LINE * LINES]);

fn main() {
    let mut criterion = harness::criterion();
    let mut group = harness::group(&mut criterion, "shared_lines");
    let contenders: [(&str, Contender); 5] = [
        ("one store a line", |count| laps(count, touch)),
        ("records", |count| laps(count, records)),
        ("records, hinted", |count| {
            laps(count, |lap, line| {
                prefetch(lap, line + 2 * BURST);
                records(lap, line);
            })
        }),
        ("records, a store ahead to each line", |count| {
            laps(count, |lap, line| {
                touch(lap, line + 2 * BURST);
                records(lap, line);
            })
        }),
        ("records, stores ahead to 8 lines in a row", |count| {
            laps(count, |lap, line| {
                if line % BURST == 0 {
                    (line + BURST..line + 2 * BURST).for_each(|line| touch(lap, line));
                }
                records(lap, line);
            })
        }),
    ];
    harness::compare(&mut group, 64, &contenders);
    group.finish();
    criterion.final_summary();
}

/// Repeatedly lets the peer read a lap, then stores to it with `store`.
fn laps(count: u64, store: impl Fn(&Lap, usize)) -> Duration {
    let lap = Lap([const { AtomicU64::new(0) }; LINE * LINES]);
    let turn = AtomicU64::new(0);
    let laps = count.div_ceil(LINES as u64);
    let mut time = Duration::ZERO;
    race(
        || {
            for n in 0..laps {
                while turn.load(Acquire) != 2 * n + 1 {
                    spin_loop();
                }
                let start = Instant::now();
                (0..LINES).for_each(|line| store(&lap, line));
                turn.store(2 * n + 2, Release);
                time += start.elapsed();
            }
        },
        || {
            for n in 0..laps {
                while turn.load(Acquire) != 2 * n {
                    spin_loop();
                }
                lap.0.iter().step_by(LINE).for_each(|word| {
                    black_box(word.load(Relaxed));
                });
                turn.store(2 * n + 1, Release);
            }
        },
    );
    time.mul_f64(count as f64 / (laps * LINES as u64) as f64)
}

fn word(lap: &Lap, line: usize, word: usize) -> &AtomicU64 {
    &lap.0[(line * LINE + word) % (LINE * LINES)]
}

#[inline(always)]
fn touch(lap: &Lap, line: usize) {
    word(lap, line, 0).store(0, Relaxed);
}

/// Four records of 8 bytes: payload, the next header zeroed, the header.
#[inline(always)]
fn records(lap: &Lap, line: usize) {
    for record in 0..4 {
        word(lap, line, 2 * record + 1).store(1, Relaxed);
        word(lap, line, 2 * record + 2).store(0, Relaxed);
        word(lap, line, 2 * record).store(1, Release);
    }
}

#[inline(always)]
fn prefetch(lap: &Lap, line: usize) {
    let at = word(lap, line, 0);
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint that neither faults nor changes memory.
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) at, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(target_arch = "x86_64"))]
    black_box(at);
}
