//! Two threads on two cores, and the time until both have finished.

use std::sync::Once;
use std::sync::atomic::{
    AtomicBool,
    Ordering::{Acquire, Relaxed, Release},
};
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_setaffinity};

/// Runs `here` on core 0 and `there` on core 1; returns the time from when both run until both
/// have finished.
pub fn race(here: impl FnOnce(), there: impl FnOnce() + Send) -> Duration {
    pin(0);
    let ready = AtomicBool::new(false);
    thread::scope(|scope| {
        let peer = scope.spawn(|| {
            pin(1);
            ready.store(true, Release);
            there();
            Instant::now()
        });
        while !ready.load(Acquire) {
            // The peer starts on our core. There a spin under a real-time priority would never
            // let it move to its own core.
            thread::yield_now();
        }
        let start = Instant::now();
        here();
        let here_done = Instant::now();
        let there_done = peer.join().expect("the peer's thread does not panic");
        here_done.max(there_done) - start
    })
}

/// Times `here` on core 0 while core 1 repeats `noise`.
pub fn with_noise(noise: impl Fn() + Sync, here: impl FnOnce()) -> Duration {
    let stop = AtomicBool::new(false);
    let mut time = Duration::ZERO;
    race(
        || {
            let start = Instant::now();
            here();
            time = start.elapsed();
            stop.store(true, Relaxed);
        },
        || {
            while !stop.load(Relaxed) {
                noise();
            }
        },
    );
    time
}

/// Pins this thread to `core`; prints one warning if it cannot.
pub fn pin(core: usize) {
    static WARNING: Once = Once::new();
    let cores = thread::available_parallelism().map_or(1, |n| n.get());
    let mut set = CpuSet::new();
    set.set(core);
    let pinned = sched_setaffinity(None, &set);
    if let Err(error) = pinned {
        WARNING.call_once(|| {
            eprintln!("not pinned to core {core} of {cores} ({error}): times will scatter");
        });
    }
}
