//! What a litmus reports about memory, with peers that are correct, wrong, absent and hostile.
#![cfg(not(loom))]

use memoffset::offset_of;
use proptest::prelude::*;
use shmem_core::mem::Heap;
use shmem_core::primitive::AtomicU32;
use shmem_core::primitive::Ordering::{Acquire, Relaxed, Release};
use shmem_core::wait::{Pause, Spin, Wait};
use shmem_core::Window;
use shmem_sync::layout::LitmusControl;
use shmem_sync::litmus::{Effort, Finding, Litmus, MissingFeature, Verdict, BATCHES};

const UNKNOWN: Verdict = Verdict {
    read_modify_write: Finding::Unknown,
    fences: Finding::Unknown,
};

const ROUNDS: u32 = 16;

/// One batch that is always enough.
const ONE_BATCH: Effort = Effort {
    batches: 1,
    rounds: ROUNDS,
    overlaps: 0,
};

const END: u32 = 0xffff;

fn heap() -> Heap {
    Heap::new(Litmus::segment_len())
}

fn litmus(heap: &Heap) -> Litmus<'_> {
    Litmus::attach(heap.window()).unwrap()
}

/// An answerer that follows the protocol of the layout document, within the asker's waits.
///
/// It runs only while the asker is stopped, so nothing here depends on time.
struct ScriptedPeer<'m> {
    memory: Window<'m>,
    pauses: u32,
    /// The asker's last step that it has reached.
    step: u32,
    /// Its work between the two steps of a batch.
    work: fn(&ScriptedPeer<'m>),
}

impl<'m> ScriptedPeer<'m> {
    fn new(heap: &'m Heap, work: fn(&ScriptedPeer<'m>)) -> Self {
        Self {
            memory: heap.window(),
            pauses: 100,
            step: 0,
            work,
        }
    }

    fn load(&self, at: usize) -> u32 {
        self.memory.word(at).load(Acquire)
    }

    /// Stores a value of the asker's run.
    fn store(&self, at: usize, value: u32) {
        let run = self.load(offset_of!(LitmusControl, asked)) & 0xffff_0000;
        self.memory.word(at).store(run | value, Release);
    }

    /// Adds its additions of one batch to the count.
    fn add(&self) {
        let count = self.load(offset_of!(LitmusControl, count)) & 0xffff;
        self.store(offset_of!(LitmusControl, count), count + ROUNDS);
    }

    /// Stores that it has seen this round of the asker in every one of its own.
    fn see(&self, round: u32) {
        for at in 0..ROUNDS as usize {
            self.store(offset_of!(LitmusControl, answerer_saw) + 4 * at, round);
        }
    }
}

impl Wait for ScriptedPeer<'_> {
    fn pause(&mut self) -> Pause {
        if self.pauses == 0 {
            return Pause::TimedOut;
        }
        self.pauses -= 1;
        let asked = self.load(offset_of!(LitmusControl, asked));
        let theirs = self.load(offset_of!(LitmusControl, asker_step));
        let step = match theirs >> 16 == asked >> 16 {
            true => theirs & 0xffff,
            false => 1, // It waits for us.
        };
        if step != self.step {
            if step % 2 == 0 {
                (self.work)(self);
            }
            self.store(offset_of!(LitmusControl, answerer_step), step);
            self.step = step;
        }
        Pause::Again
    }

    fn sleep(&mut self, _: &AtomicU32, _: u32) {}
}

#[test]
fn a_correct_peer_gives_a_good_verdict() {
    let heap = heap();
    let mut peer = ScriptedPeer::new(&heap, |peer| {
        peer.add();
        peer.see(ROUNDS);
    });
    let verdict = litmus(&heap).ask_with(ONE_BATCH, &mut peer);
    assert_eq!(verdict.require_read_modify_write(), Ok(()));
    assert_eq!(verdict.require_fences(), Ok(()));
}

#[test]
fn a_peer_that_never_runs_at_the_same_time_gives_no_verdict() {
    let heap = heap();
    let mut peer = ScriptedPeer::new(&heap, |peer| {
        peer.add();
        peer.see(ROUNDS);
    });
    let effort = Effort {
        overlaps: 1,
        ..ONE_BATCH
    };
    let verdict = litmus(&heap).ask_with(effort, &mut peer);
    assert_eq!(verdict, UNKNOWN);
    let text = verdict.require_fences().unwrap_err().to_string();
    assert!(text.contains("ask again"), "{text}");
}

#[test]
fn an_addition_by_load_and_store_is_detected_as_lost() {
    let heap = heap();
    let mut peer = ScriptedPeer::new(&heap, |peer| {
        // It had loaded the count before all of ours, and stores it now.
        peer.store(offset_of!(LitmusControl, count), ROUNDS);
        peer.see(ROUNDS);
    });
    let verdict = litmus(&heap).ask_with(ONE_BATCH, &mut peer);
    let finding = Finding::Broken {
        wrong: ROUNDS,
        attempts: 2 * ROUNDS,
    };
    let refused = verdict.require_read_modify_write();
    assert_eq!(refused, Err(MissingFeature::ReadModifyWrite(finding)));
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("16 of 32 additions were lost"), "{text}");
    assert!(text.contains("-accel tcg,thread=multi"), "{text}");
    assert_eq!(verdict.require_fences(), Ok(()));
}

#[test]
fn a_store_that_is_visible_after_the_next_load_is_detected() {
    let heap = heap();
    let mut peer = ScriptedPeer::new(&heap, |peer| {
        peer.add();
        peer.see(0);
    });
    let verdict = litmus(&heap).ask_with(ONE_BATCH, &mut peer);
    let finding = Finding::Broken {
        wrong: ROUNDS,
        attempts: ROUNDS,
    };
    assert_eq!(
        verdict.require_fences(),
        Err(MissingFeature::Fences(finding))
    );
    assert_eq!(verdict.require_read_modify_write(), Ok(()));
}

#[test]
fn a_failure_is_reported_even_if_the_peer_then_dies() {
    let heap = heap();
    let mut peer = ScriptedPeer::new(&heap, |peer| peer.see(0));
    peer.pauses = 3;
    let effort = Effort {
        batches: BATCHES,
        overlaps: u32::MAX,
        ..ONE_BATCH
    };
    let verdict = litmus(&heap).ask_with(effort, &mut peer);
    assert!(verdict.read_modify_write.is_broken(), "{verdict}");
    assert!(verdict.fences.is_broken(), "{verdict}");
}

#[test]
fn asking_without_an_answerer_ends_at_the_deadline() {
    let heap = heap();
    let verdict = litmus(&heap).ask(&mut Spin::checks(10));
    assert_eq!(verdict, UNKNOWN);
    // It was not answered, so it may still be answered; its asker has ended.
    let late = litmus(&heap).answer(&mut Spin::checks(10));
    assert_eq!(late, Some(UNKNOWN));
}

#[test]
fn a_session_is_answered_once() {
    let heap = heap();
    assert_eq!(litmus(&heap).answer(&mut Spin::checks(10)), None);
    litmus(&heap).ask(&mut Spin::checks(10));
    assert!(litmus(&heap).answer(&mut Spin::checks(10)).is_some());
    assert_eq!(litmus(&heap).answer(&mut Spin::checks(10)), None);
    litmus(&heap).ask(&mut Spin::checks(10));
    assert!(litmus(&heap).answer(&mut Spin::checks(10)).is_some());
}

#[test]
fn sessions_continue_after_the_last_number() {
    let heap = heap();
    let asked = heap.window().word(offset_of!(LitmusControl, asked));
    let step = heap.window().word(offset_of!(LitmusControl, answerer_step));
    asked.store(0xffff_0010, Relaxed);
    // The first number was answered, 65,535 runs ago.
    step.store(1 << 16 | END, Relaxed);
    let mut peer = ScriptedPeer::new(&heap, |peer| {
        peer.add();
        peer.see(ROUNDS);
    });
    let verdict = litmus(&heap).ask_with(ONE_BATCH, &mut peer);
    assert_eq!(verdict.require_read_modify_write(), Ok(()));
    assert_eq!(asked.load(Relaxed), 2 << 16 | ROUNDS);
}

#[test]
fn an_answerer_leaves_a_session_when_the_next_one_is_asked_for() {
    /// The asker, which is restarted in the answerer's first wait.
    struct Restarted<'m>(Window<'m>);

    impl Wait for Restarted<'_> {
        fn pause(&mut self) -> Pause {
            let asked = self.0.word(offset_of!(LitmusControl, asked));
            asked.store(2 << 16 | ROUNDS, Relaxed);
            Pause::Again
        }

        fn sleep(&mut self, _: &AtomicU32, _: u32) {}
    }

    let heap = heap();
    let window = heap.window();
    let asked = window.word(offset_of!(LitmusControl, asked));
    asked.store(1 << 16 | ROUNDS, Relaxed);
    let left = litmus(&heap).answer(&mut Restarted(window));
    assert_eq!(left, Some(UNKNOWN));
    assert!(litmus(&heap).answer(&mut Spin::checks(10)).is_some());
}

#[test]
fn a_session_with_too_many_rounds_is_not_answered() {
    for rounds in [0, 257, 0xffff] {
        let heap = heap();
        let asked = heap.window().word(offset_of!(LitmusControl, asked));
        asked.store(1 << 16 | rounds, Relaxed);
        assert_eq!(litmus(&heap).answer(&mut Spin::checks(10)), None);
    }
}

#[test]
fn attaching_to_a_segment_that_is_too_short_fails() {
    let heap = Heap::new(Litmus::segment_len() - 8);
    assert!(Litmus::attach(heap.window()).is_err());
}

#[cfg(feature = "std")]
mod threads {
    use super::*;
    use shmem_sync::SpinYield;
    use std::thread;
    use std::time::Duration;

    const DEADLINE: Duration = Duration::from_secs(60);

    /// Returns the verdicts of both parties, which run one run in two threads.
    fn both(effort: Effort) -> [Verdict; 2] {
        let heap = heap();
        thread::scope(|scope| {
            let answerer = scope.spawn(|| loop {
                if let Some(verdict) = litmus(&heap).answer(&mut SpinYield::timeout(DEADLINE)) {
                    return verdict;
                }
                thread::yield_now();
            });
            let verdict = litmus(&heap).ask_with(effort, &mut SpinYield::timeout(DEADLINE));
            [verdict, answerer.join().unwrap()]
        })
    }

    #[test]
    fn two_threads_of_this_machine_find_that_everything_works() {
        // How much they overlap depends on the machine.
        let effort = Effort {
            overlaps: 0,
            ..Effort::default()
        };
        for _ in 0..20 {
            let [asker, answerer] = both(effort);
            assert_eq!(asker, answerer);
            assert_eq!(asker.require_read_modify_write(), Ok(()));
            assert_eq!(asker.require_fences(), Ok(()));
        }
    }

    #[test]
    fn two_threads_of_this_machine_agree_and_find_nothing_broken() {
        let [asker, answerer] = both(Effort::default());
        assert_eq!(asker, answerer);
        assert!(!asker.read_modify_write.is_broken(), "{asker}");
        assert!(!asker.fences.is_broken(), "{asker}");
    }
}

/// A peer that stores any value anywhere, and gets the caller as far as it can.
struct Hostile<'m> {
    memory: Window<'m>,
    stores: std::vec::IntoIter<(usize, u32)>,
}

impl Wait for Hostile<'_> {
    fn pause(&mut self) -> Pause {
        let Some((at, value)) = self.stores.next() else {
            return Pause::TimedOut;
        };
        // Often stores a word of the run, and often to a word that matters.
        let asked = self.memory.word(0).load(Relaxed);
        let value = match value % 3 {
            0 => value,
            _ => asked & 0xffff_0000 | value & 0xffff,
        };
        let words = self.memory.len() / 4;
        let at = match at % 3 {
            0 => at % words,
            1 => at % 8,
            _ => 32 * (at % 5),
        };
        self.memory.word(at * 4).store(value, Relaxed);
        Pause::Again
    }

    fn sleep(&mut self, _: &AtomicU32, _: u32) {}
}

proptest! {
    #[test]
    fn a_party_ends_without_panic_whatever_a_peer_stores(
        before in proptest::collection::vec(any::<(usize, u32)>(), 0..20),
        stores in proptest::collection::vec(any::<(usize, u32)>(), 0..60),
        asks in any::<bool>(),
    ) {
        let heap = heap();
        let memory = heap.window();
        let mut first = Hostile { memory, stores: before.into_iter() };
        while first.pause() == Pause::Again {}
        let mut hostile = Hostile { memory, stores: stores.into_iter() };
        if asks {
            litmus(&heap).ask(&mut hostile);
        } else {
            litmus(&heap).answer(&mut hostile);
        }
    }
}
