//! Simulates the death or a stop of a partition at a chosen store.
//!
//! For tests of recovery, in memory on the heap. [`run`] ends some work at
//! one of its stores to shared memory: that store and all later ones, also those of
//! destructors, do not happen. Without a chosen store
//! it counts the stores, so that a test can try each one. [`stall`] stops the work
//! before the store instead, runs other work, and then continues.
//!
//! A copy of more than 8 bytes is two stores, one of its first 8 bytes and one of all. So a
//! death can leave a partial copy.

use std::boxed::Box;
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::sync::mpsc::{channel, Receiver, Sender};
use std::{thread, thread_local};

/// How a piece of work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It died at the chosen store.
    Died,
    /// It finished.
    Finished {
        /// The number of stores to shared memory.
        stores: u64,
    },
}

struct Death;

#[derive(Clone, Copy)]
enum State {
    /// No work runs on this thread.
    Idle,
    /// The number of stores made, and the number of the store before which it dies or stops.
    Counting(u64, Option<u64>),
    Dead,
}

/// A stop: one channel reports that it is reached, the other one waits for permission to
/// continue.
struct Stop {
    reached: Sender<()>,
    resume: Receiver<()>,
}

thread_local! {
    static STATE: Cell<State> = const { Cell::new(State::Idle) };
    /// The stop that this thread has not reached yet. Without one the work dies instead.
    static STOP: RefCell<Option<Stop>> = const { RefCell::new(None) };
}

/// Runs `work` on this thread until its store number `at`, from 0, or to its end.
///
/// # Panics
///
/// If `work` panics by itself.
pub fn run(at: Option<u64>, work: impl FnOnce()) -> Ended {
    STATE.set(State::Counting(0, at));
    let outcome = panic::catch_unwind(AssertUnwindSafe(work));
    let state = STATE.replace(State::Idle);
    match (outcome, state) {
        (Ok(()), State::Counting(stores, _)) => Ended::Finished { stores },
        // Dead: the work caught the unwinding.
        (Ok(()), _) => Ended::Died,
        (Err(cause), _) if cause.is::<Death>() => Ended::Died,
        (Err(cause), _) => panic::resume_unwind(cause),
    }
}

/// Runs `work` on a thread of its own and stops it before its store number `at`, from 0,
/// or at [`stop`] if that comes first. Then runs `meanwhile` on this thread, and lets `work`
/// run to its end. Returns the result of `work` and whether it was stopped; if not,
/// `meanwhile` did not run.
///
/// # Panics
///
/// If `work` or `meanwhile` panics.
pub fn stall<T: Send>(
    at: u64,
    work: impl FnOnce() -> T + Send,
    meanwhile: impl FnOnce(),
) -> (T, bool) {
    let (reached, stops) = channel();
    let (allow, resume) = channel::<()>();
    let run = move || {
        STOP.set(Some(Stop { reached, resume }));
        STATE.set(State::Counting(0, Some(at)));
        let result = work();
        STOP.take(); // Closes the channel: the other thread stops waiting.
        result
    };
    thread::scope(|scope| {
        let late = scope.spawn(run);
        let stopped = stops.recv().is_ok();
        if stopped {
            meanwhile();
        }
        drop(allow);
        let result = late.join();
        (
            result.unwrap_or_else(|cause| panic::resume_unwind(cause)),
            stopped,
        )
    })
}

/// Stops here if this is work of [`stall`] that was not stopped yet, after its last
/// store for example. Returns true if it stopped.
pub fn stop() -> bool {
    let Some(stop) = STOP.take() else {
        return false;
    };
    if let State::Counting(stores, _) = STATE.get() {
        STATE.set(State::Counting(stores, None));
    }
    // Both fail if the other thread panicked: then continue.
    let _ = stop.reached.send(());
    let _ = stop.resume.recv();
    true
}

/// Returns the number of stores that the work on this thread has made so far.
pub fn stores() -> u64 {
    match STATE.get() {
        State::Counting(stores, _) => stores,
        State::Idle | State::Dead => 0,
    }
}

/// Returns true if a store may happen. Unwinds at the store where the work dies.
pub(super) fn store_happens() -> bool {
    match STATE.get() {
        State::Idle => true,
        State::Dead => false,
        State::Counting(stores, at) if at == Some(stores) => {
            if stop() {
                STATE.set(State::Counting(stores + 1, None));
                return true;
            }
            STATE.set(State::Dead);
            // Does not call the panic hook.
            panic::resume_unwind(Box::new(Death));
        }
        State::Counting(stores, at) => {
            STATE.set(State::Counting(stores + 1, at));
            true
        }
    }
}

/// Returns true if work runs on this thread, so that a copy must consist of two stores.
pub(super) fn is_watched() -> bool {
    !matches!(STATE.get(), State::Idle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mem::Heap;
    use crate::primitive::Ordering::Relaxed;

    #[test]
    fn stores_happen_before_the_death_and_not_after_it() {
        let heap = Heap::new(64);
        let window = heap.window();
        let work = || {
            window.word(0).store(1, Relaxed);
            window.write(8, &[2; 16]);
            let _ = window.word(4).compare_exchange(0, 3, Relaxed, Relaxed);
        };
        let bytes = || {
            let mut bytes = [0; 24];
            window.read(0, &mut bytes);
            (bytes[0], bytes[8], bytes[16], bytes[4])
        };
        for (at, left) in [
            (0, (0, 0, 0, 0)),
            (1, (1, 0, 0, 0)),
            (2, (1, 2, 0, 0)),
            (3, (1, 2, 2, 0)),
        ] {
            window.zero(0, 64);
            assert_eq!(run(Some(at), work), Ended::Died);
            assert_eq!(bytes(), left, "death at store {at}");
        }
        assert_eq!(run(Some(4), work), Ended::Finished { stores: 4 });
        assert_eq!(bytes(), (1, 2, 2, 3));
    }
    #[test]
    fn work_that_is_stopped_before_a_store_makes_it_after_the_other_work() {
        let heap = Heap::new(64);
        let window = heap.window();
        let work = || {
            window.write(0, &[1; 16]);
            window.word(0).store(2, Relaxed);
            let ended = stop();
            assert_eq!(stores(), 3);
            (window.word(4).load(Relaxed), ended)
        };
        for (at, seen, left) in [(0, 0, 2), (1, 1, 2), (2, 1, 2), (3, 2, 9)] {
            window.zero(0, 64);
            let ((loaded, ended), stopped) = stall(at, work, || {
                let word = window.word(0);
                assert_eq!(word.load(Relaxed) & 0xff, seen, "stopped before store {at}");
                word.store(9, Relaxed);
                window.word(4).store(7, Relaxed);
            });
            assert!(stopped);
            assert_eq!((window.word(0).load(Relaxed), ended), (left, at == 3));
            let overwritten = at < 2; // By the rest of the copy.
            assert_eq!(loaded == 7, !overwritten);
        }
        assert_eq!(stall(1, || 5, || unreachable!()), (5, false));
    }
}
