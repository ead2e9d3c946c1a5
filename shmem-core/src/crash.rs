//! Death at a chosen store: what a partition leaves that dies between any two.
//!
//! For tests of recovery, on the heap stand-in. [`run`] lets some work die at
//! one of its stores to shared memory: that store and all behind it, those of
//! destructors among them, do not happen, and the work ends. Run without a death
//! it counts the stores, so that a test can try each.
//!
//! [`stall`] stops it there instead, lets the others go on, and then it goes on itself.
//!
//! A copy of more than 8 bytes is two stores, of its first 8 and then of all, and
//! so a death can tear it.

use std::boxed::Box;
use std::cell::Cell;
use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::mpsc::{channel, Receiver, Sender};
use std::thread;
use std::thread_local;

/// How a piece of work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It died at the store that was chosen.
    Died,
    /// It came to its end after so many stores.
    Alive {
        /// Stores to shared memory.
        stores: u64,
    },
}

struct Death;

#[derive(Clone, Copy)]
enum State {
    /// Nobody is to die on this thread.
    Idle,
    /// So many stores were made, and the one with this number is the last thing done.
    Counting(u64, Option<u64>),
    Dead,
}

/// One that stops, instead of dying: says that it has, and waits until it may go on.
struct Stop(Sender<()>, Receiver<()>);

thread_local! {
    static STOP: RefCell<Option<Stop>> = const { RefCell::new(None) };
    static STATE: Cell<State> = const { Cell::new(State::Idle) };
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
        (Ok(()), State::Counting(stores, _)) => Ended::Alive { stores },
        // Dead, and what unwound was caught on the way.
        (Ok(()), _) => Ended::Died,
        (Err(cause), _) if cause.is::<Death>() => Ended::Died,
        (Err(cause), _) => panic::resume_unwind(cause),
    }
}

/// Runs `work` on a thread of its own, stops it before its store number `at`, from 0,
/// and lets it go on to its end after `meanwhile`. What `work` returned, and whether it
/// made that many stores: if not, `meanwhile` did not run.
///
/// # Panics
///
/// If `work` panics.
pub fn stall<T: Send>(
    at: u64,
    work: impl FnOnce() -> T + Send,
    meanwhile: impl FnOnce(),
) -> (T, bool) {
    let ((here, stopped), (go, on)) = (channel(), channel());
    thread::scope(|scope| {
        let worker = scope.spawn(move || {
            STOP.set(Some(Stop(here, on)));
            STATE.set(State::Counting(0, Some(at)));
            let done = work();
            STOP.take();
            done
        });
        let reached = stopped.recv().is_ok();
        if reached {
            meanwhile();
        }
        drop(go);
        match worker.join() {
            Ok(done) => (done, reached),
            Err(cause) => panic::resume_unwind(cause),
        }
    })
}

/// Whether a store may happen; does not return where it is the one to die at.
pub(crate) fn store_happens() -> bool {
    match STATE.get() {
        State::Idle => true,
        State::Dead => false,
        State::Counting(stores, at) if at == Some(stores) => {
            if let Some(Stop(here, on)) = STOP.take() {
                STATE.set(State::Idle);
                let _ = here.send(());
                let _ = on.recv(); // Ends when the other side is dropped.
                return true;
            }
            STATE.set(State::Dead);
            // Without a word of the panic hook.
            panic::resume_unwind(Box::new(Death));
        }
        State::Counting(stores, at) => {
            STATE.set(State::Counting(stores + 1, at));
            true
        }
    }
}

/// Whether somebody may die on this thread, and copies are to be torn.
pub(crate) fn is_watched() -> bool {
    !matches!(STATE.get(), State::Idle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mem::Heap;
    use crate::primitive::Ordering::Relaxed;

    #[test]
    fn stores_happen_up_to_the_death_and_not_behind_it() {
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
        assert_eq!(run(Some(4), work), Ended::Alive { stores: 4 });
        assert_eq!(bytes(), (1, 2, 2, 3));
    }

    #[test]
    fn one_that_is_stopped_at_a_store_goes_on_after_the_others() {
        let heap = Heap::new(64);
        let work = || {
            heap.window().word(0).store(1, Relaxed);
            heap.window().word(4).store(1, Relaxed);
            7
        };
        let others = || {
            assert_eq!(heap.window().word(0).load(Relaxed), 1);
            heap.window().word(0).store(2, Relaxed);
            heap.window().word(4).store(2, Relaxed);
        };
        assert_eq!(stall(1, work, others), (7, true));
        let word = |at| heap.window().word(at).load(Relaxed);
        assert_eq!((word(0), word(4)), (2, 1));
        assert_eq!(stall(2, work, || unreachable!()), (7, false));
    }
}
