//! One caller's wait for the incarnations that hold what it needs.
//!
//! A caller that waits for a lock reads a word, calls [`Waiter::wait_step`], and reads the word
//! again. Every step counts against the deadline. After the deadline [`TAKEOVERS`] limits the
//! steps, so nothing that a peer stores in the word makes the wait longer.
//!
//! The next step depends on the state of the incarnation that the word names ([`PartitionState`]).
//! If it is gone, the caller takes over from it. If it is alive or silent, the caller waits; at the
//! deadline the error names it if it is silent.
//!
//! # What a `Liveness` may rely on
//!
//! It is asked about an incarnation only after the same thread has loaded a word that names it.
//! Suppose that the incarnation executed a release fence before it stored that word. A `Liveness`
//! that loads other words after an acquire fence then finds what the incarnation stored before its
//! fence: for example, that it is attached.

use shmem_core::mem::Word;
use shmem_core::wait::{Pause, Wait};
use shmem_core::Incarnation;

use crate::error::LockFailure;
use crate::layout::READERS;
use crate::{Liveness, PartitionState};

/// Steps without a sleep before a wait asks whether the holder is alive: most holders release
/// sooner.
const STEPS_BEFORE_LIVENESS: u32 = 8;

/// The most pauses between two checks, as a power of two. Models check each time.
const MAX_BACKOFF: u32 = if cfg!(loom) { 0 } else { 4 };

/// The most takeovers after the deadline: more than the reader words that a writer may have to
/// clear, with some that come in between.
const TAKEOVERS: u32 = 2 * READERS as u32;

/// A caller's wait and its progress.
pub(crate) struct Waiter<'w> {
    /// `None`: does not wait.
    wait: Option<&'w mut dyn Wait>,
    liveness: &'w mut dyn Liveness,
    steps: u32,
    slept: bool,
    /// What is left of [`TAKEOVERS`].
    takeovers: u32,
}

/// What the caller does next.
pub(crate) enum WaitStep {
    /// Check again.
    Again,
    /// Sleep, if there is a word to sleep on.
    Sleep,
    /// Take over: the holder is gone.
    Gone,
    /// Return this error.
    GiveUp(LockFailure),
}

impl<'w> Waiter<'w> {
    /// Returns a waiter for a call that does not wait.
    pub(crate) fn without_waiting(liveness: &'w mut dyn Liveness) -> Self {
        Self {
            wait: None,
            liveness,
            steps: 0,
            slept: false,
            takeovers: TAKEOVERS,
        }
    }

    /// Returns a waiter for a call that waits until the deadline of `wait`.
    pub(crate) fn new(wait: &'w mut dyn Wait, liveness: &'w mut dyn Liveness) -> Self {
        Self {
            wait: Some(wait),
            ..Self::without_waiting(liveness)
        }
    }

    /// Waits one step for `holder`; `None` if no incarnation is known to be in the way.
    pub(crate) fn wait_step(&mut self, holder: Option<Incarnation>) -> WaitStep {
        self.step(1, holder)
    }

    /// As [`Self::wait_step`], twice as long each time: each check takes the cache line of the word
    /// away from the partition that is about to change it.
    pub(crate) fn wait_step_with_backoff(&mut self, holder: Option<Incarnation>) -> WaitStep {
        self.step(1 << self.steps.min(MAX_BACKOFF), holder)
    }

    /// Waits for up to `pauses` pauses.
    fn step(&mut self, pauses: u32, holder: Option<Incarnation>) -> WaitStep {
        let mut pause = Pause::TimedOut;
        if let Some(wait) = &mut self.wait {
            let mut pauses = (0..pauses).map(|_| wait.pause());
            let other = pauses.find(|&pause| pause != Pause::Again);
            pause = other.unwrap_or(Pause::Again);
        }
        self.steps = self.steps.saturating_add(1);
        let ask = pause != Pause::Again || self.steps > STEPS_BEFORE_LIVENESS;
        let asked = holder.filter(|_| ask);
        let state = asked.map(|holder| self.liveness.state(holder));
        if state == Some(PartitionState::Gone) && self.may_take_over(pause) {
            return WaitStep::Gone;
        }
        match pause {
            Pause::Again => WaitStep::Again,
            Pause::Sleep => WaitStep::Sleep,
            Pause::TimedOut if self.wait.is_none() => WaitStep::GiveUp(LockFailure::Busy),
            Pause::TimedOut => WaitStep::GiveUp(match (holder, state) {
                (Some(holder), Some(PartitionState::Silent)) => LockFailure::HolderSilent(holder),
                _ => LockFailure::TimedOut,
            }),
        }
    }

    /// Counts a takeover after the deadline; returns false if there were too many.
    fn may_take_over(&mut self, pause: Pause) -> bool {
        if pause != Pause::TimedOut {
            return true;
        }
        let left = self.takeovers.checked_sub(1);
        self.takeovers = left.unwrap_or(0);
        left.is_some()
    }

    pub(crate) fn is_gone(&mut self, incarnation: Incarnation) -> bool {
        self.liveness.is_gone(incarnation)
    }

    /// Sleeps until `word` is no longer `seen`, after a step that returned [`WaitStep::Sleep`].
    pub(crate) fn sleep(&mut self, word: Word<'_>, seen: u32) {
        self.slept = true;
        if let Some(wait) = &mut self.wait {
            wait.sleep(word.as_atomic(), seen.to_le());
        }
    }

    /// Returns true if a wake-up may have been meant for us.
    pub(crate) fn has_slept(&self) -> bool {
        self.slept
    }
}
