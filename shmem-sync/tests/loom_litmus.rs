//! Models of the litmus: on correct memory, nothing ever appears broken.
#![cfg(loom)]

use loom::thread;
use memoffset::offset_of;
use shmem_core::primitive::AtomicU32;
use shmem_core::primitive::Ordering::{Acquire, Relaxed, Release};
use shmem_core::wait::{Pause, Wait};
use shmem_core::Window;
use shmem_sync::layout::LitmusControl;
use shmem_sync::litmus::{Effort, Finding, Litmus, Verdict};

mod support;
use support::{heap, yield_until, Yield};

const WORKS: Verdict = Verdict {
    read_modify_write: Finding::Works,
    fences: Finding::Works,
};

const UNKNOWN: Verdict = Verdict {
    read_modify_write: Finding::Unknown,
    fences: Finding::Unknown,
};

fn litmus(memory: Window<'static>) -> Litmus<'static> {
    Litmus::attach(memory).unwrap()
}

fn effort(batches: u32, rounds: u32, overlaps: u32) -> Effort {
    Effort {
        batches,
        rounds,
        overlaps,
    }
}

/// Checks a longer model with fewer preemptions.
fn shortened(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(builder.preemption_bound.unwrap_or(2).min(2));
    builder.check(model);
}

/// Answers one run, and waits until one is asked for.
fn answer(memory: Window<'static>) -> Verdict {
    loop {
        if let Some(verdict) = litmus(memory).answer(&mut Yield) {
            return verdict;
        }
        thread::yield_now();
    }
}

/// Times out after this number of pauses.
struct Pauses(u32);

impl Wait for Pauses {
    fn pause(&mut self) -> Pause {
        if self.0 == 0 {
            return Pause::TimedOut;
        }
        self.0 -= 1;
        thread::yield_now();
        Pause::Again
    }

    fn sleep(&mut self, _: &AtomicU32, _: u32) {}
}

#[test] // Kills: the fence; Release in `reach_next_step`; Acquire in `wait_for_step`.
fn both_parties_find_that_everything_works() {
    loom::model(|| {
        let memory = heap(Litmus::segment_len());
        let peer = thread::spawn(move || answer(memory));
        let ours = litmus(memory).ask_with(effort(1, 1, 0), &mut Yield);
        assert_eq!(ours, WORKS);
        assert_eq!(peer.join().unwrap(), WORKS);
    });
}

#[test] // Kills: Release in `publish_end`.
fn the_findings_of_the_asker_are_visible_when_it_has_ended() {
    loom::model(|| {
        let memory = heap(Litmus::segment_len());
        let word = move |at| memory.word(at);
        let answerer = thread::spawn(move || {
            let asked = offset_of!(LitmusControl, asked);
            yield_until(|| word(asked).load(Acquire) != 0);
            // It reaches every step and does nothing.
            let run = 1 << 16;
            word(offset_of!(LitmusControl, answerer_step)).store(run | 2, Release);
            let step = offset_of!(LitmusControl, asker_step);
            yield_until(|| word(step).load(Acquire) == run | 0xffff);
            let lost = offset_of!(LitmusControl, lost);
            assert_eq!(word(lost).load(Relaxed), run | 1);
        });
        litmus(memory).ask_with(effort(1, 1, 0), &mut Yield);
        answerer.join().unwrap();
    });
}

#[test]
fn nothing_is_broken_in_a_later_batch() {
    shortened(|| {
        let memory = heap(Litmus::segment_len());
        let peer = thread::spawn(move || answer(memory));
        let ours = litmus(memory).ask_with(effort(2, 1, u32::MAX), &mut Yield);
        assert_eq!(ours, UNKNOWN);
        assert_eq!(peer.join().unwrap(), UNKNOWN);
    });
}

#[test]
fn nothing_is_broken_in_a_batch_of_two_rounds() {
    shortened(|| {
        let memory = heap(Litmus::segment_len());
        let peer = thread::spawn(move || answer(memory));
        let ours = litmus(memory).ask_with(effort(1, 2, 0), &mut Yield);
        assert_eq!(ours, WORKS);
        assert_eq!(peer.join().unwrap(), WORKS);
    });
}

#[test] // Kills: a count that starts before the answerer has reached the run.
fn nothing_is_broken_in_the_session_after_an_abandoned_one() {
    shortened(|| {
        let memory = heap(Litmus::segment_len());
        let peer = thread::spawn(move || {
            let first = litmus(memory).answer(&mut Pauses(1));
            (first, litmus(memory).answer(&mut Pauses(1)))
        });
        let ask = || litmus(memory).ask_with(effort(1, 1, 0), &mut Pauses(1));
        let ours = [ask(), ask()];
        let theirs = peer.join().unwrap();
        for verdict in [Some(ours[0]), Some(ours[1]), theirs.0, theirs.1] {
            assert!(
                verdict.map_or(true, |v| v == WORKS || v == UNKNOWN),
                "{verdict:?}"
            );
        }
    });
}
