//! Waiting, waking and dying inside a loom model.

use loom::sync::atomic::AtomicU32 as Flag;
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use shmem_core::doorbell::Doorbell;
use shmem_core::mem::{Heap, ReadWindow};
use shmem_core::primitive::AtomicU32;
use shmem_core::primitive::Ordering::{Acquire, Relaxed, Release};
use shmem_core::wait::{Pause, Wait};
use shmem_core::{Incarnation, Window};
use shmem_sync::{Guard, Liveness, PartitionState};

/// Zeroed memory for the rest of the model's execution.
pub(crate) fn heap(len: usize) -> Window<'static> {
    Heap::leaked(len).window()
}

/// Returns the count in protected bytes. They are bytes, because attaching to bytes has the fewest
/// steps.
pub(crate) fn count(data: ReadWindow<'_>) -> u8 {
    let mut count = [0];
    data.read(0, &mut count);
    count[0]
}

/// Adds one to the count, in two steps. Returns the count before.
pub(crate) fn add_one(guard: &mut Guard<'_, '_, [u8]>) -> u8 {
    let before = count(guard.window().into());
    guard.window().write(0, &[before + 1]);
    before
}

/// A model of the kernel's futex: it checks the word and sleeps in one step, and only a ring of
/// that word ends the sleep. There is no time-out, so a lost wake-up is a deadlock, which loom
/// reports.
#[derive(Clone)]
pub(crate) struct FutexModel(Arc<(Mutex<Vec<Sleeper>>, Condvar)>);

struct Sleeper {
    thread: thread::ThreadId,
    /// The word's address; `None` once it is rung.
    word: Option<usize>,
}

impl FutexModel {
    pub(crate) fn new() -> Self {
        Self(Arc::new((Mutex::new(Vec::new()), Condvar::new())))
    }

    /// Wakes up to `count` sleepers of `word`, first come, first woken.
    fn wake(&self, word: &AtomicU32, count: usize) {
        let word = Some(address(word));
        let mut sleepers = self.0 .0.lock().unwrap();
        let asleep = sleepers.iter_mut().filter(|sleeper| sleeper.word == word);
        asleep.take(count).for_each(|sleeper| sleeper.word = None);
        drop(sleepers);
        self.0 .1.notify_all();
    }
}

fn address(word: &AtomicU32) -> usize {
    word as *const AtomicU32 as usize
}

impl Wait for FutexModel {
    fn pause(&mut self) -> Pause {
        Pause::Sleep
    }

    fn sleep(&mut self, ring_count: &AtomicU32, seen: u32) {
        let mut sleepers = self.0 .0.lock().unwrap();
        if ring_count.load(Relaxed) != seen {
            return;
        }
        let thread = thread::current().id();
        let word = Some(address(ring_count));
        sleepers.push(Sleeper { thread, word });
        let asleep = |sleeper: &Sleeper| sleeper.thread == thread && sleeper.word.is_some();
        while sleepers.iter().any(asleep) {
            sleepers = self.0 .1.wait(sleepers).unwrap();
        }
        sleepers.retain(|sleeper| sleeper.thread != thread);
    }
}

impl Doorbell for FutexModel {
    fn ring(&self, ring_count: &AtomicU32) {
        self.wake(ring_count, 1);
    }

    fn ring_all(&self, ring_count: &AtomicU32) {
        self.wake(ring_count, usize::MAX);
    }
}

/// Waits without sleeping: the others run before the next check.
pub(crate) struct Yield;

impl Wait for Yield {
    fn pause(&mut self) -> Pause {
        thread::yield_now();
        Pause::Again
    }

    fn sleep(&mut self, _: &AtomicU32, _: u32) {}
}

/// Lets the others run until `done` returns true.
pub(crate) fn yield_until(mut done: impl FnMut() -> bool) {
    while !done() {
        thread::yield_now();
    }
}

/// Reports one death. The work of the dead incarnation is visible to a caller that learns of it.
#[derive(Clone)]
pub(crate) struct DeathNotice(Arc<Flag>);

impl DeathNotice {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Flag::new(0)))
    }

    pub(crate) fn announce(&self, incarnation: Incarnation) {
        self.0.store(incarnation.word(), Release);
    }
}

impl Liveness for DeathNotice {
    fn state(&mut self, incarnation: Incarnation) -> PartitionState {
        PartitionState::from_is_gone(self.0.load(Acquire) == incarnation.word())
    }
}
