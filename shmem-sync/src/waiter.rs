//! One caller's wait for the incarnations that are in its way.
//!
//! Whoever waits for a lock looks at a word, spends a [`Waiter::wait_step`], and looks
//! again. Every turn counts against the deadline, and behind the deadline
//! [`TAKEOVERS`] limits them, so nothing that a peer does to the word makes the wait longer.
//!
//! What is done about the incarnation that a word names depends on what is known of it
//! ([`PartitionState`]): one that is gone is taken over from. One that is alive or silent
//! is waited for; at the deadline, one that is silent is named.
//!
//! # What a `Liveness` may rely on
//!
//! It is asked about an incarnation only after the word that names that incarnation was loaded, by
//! the same thread. So one that looks at memory of its own, behind an acquire fence, finds there
//! what the incarnation stored in it before it came to the lock, if a release fence of that
//! incarnation's is between the two: that it is attached, for example.

use shmem_core::mem::Word;
use shmem_core::wait::{Pause, Wait};
use shmem_core::Incarnation;

use crate::error::LockFailure;
use crate::layout::READERS;
use crate::{Liveness, PartitionState};

/// Turns without a sleep before a wait asks whether whom it waits for incarnations: most
/// owners are back sooner.
const TRUSTING: u32 = 8;

/// The most pauses between two looks, as a power of two. Models look each time.
const BACK_OFF: u32 = if cfg!(loom) { 0 } else { 4 };

/// Lives that are gone and may be met when there is no time left: more than the readers
/// that a writer may have to clear away, with some that come between.
const TAKEOVERS: u32 = 2 * READERS as u32;

/// How a caller waits, and how far it has come with it.
pub(crate) struct Waiter<'w> {
    /// `None` does not wait.
    wait: Option<&'w mut dyn Wait>,
    liveness: &'w mut dyn Liveness,
    turns: u32,
    slept: bool,
    /// What is left of [`TAKEOVERS`].
    takeovers: u32,
}

/// What comes of a turn.
pub(crate) enum WaitStep {
    /// Look again.
    Again,
    /// Sleep, if there is something to wake from.
    Sleep,
    /// Whom we wait for is gone.
    Gone,
    /// Time is up.
    GiveUp(LockFailure),
}

impl<'w> Waiter<'w> {
    /// Looks once.
    pub(crate) fn once(liveness: &'w mut dyn Liveness) -> Self {
        Self {
            wait: None,
            liveness,
            turns: 0,
            slept: false,
            takeovers: TAKEOVERS,
        }
    }

    /// Looks until the deadline of `wait`.
    pub(crate) fn long(wait: &'w mut dyn Wait, liveness: &'w mut dyn Liveness) -> Self {
        Self {
            wait: Some(wait),
            ..Self::once(liveness)
        }
    }

    /// Spends a turn on waiting for `holder`; `None` is nobody in particular.
    pub(crate) fn wait_step(&mut self, holder: Option<Incarnation>) -> WaitStep {
        self.turn_of(1, holder)
    }

    /// The same, twice as long each time, where a look takes the line of the word away from
    /// who is about to change it.
    pub(crate) fn longer_wait_step(&mut self, holder: Option<Incarnation>) -> WaitStep {
        self.turn_of(1 << self.turns.min(BACK_OFF), holder)
    }

    /// A turn of so many pauses, if the wait has them.
    fn turn_of(&mut self, pauses: u32, holder: Option<Incarnation>) -> WaitStep {
        let mut pause = Pause::TimedOut;
        if let Some(wait) = &mut self.wait {
            let mut pauses = (0..pauses).map(|_| wait.pause());
            let other = pauses.find(|&pause| pause != Pause::Again);
            pause = other.unwrap_or(Pause::Again);
        }
        self.turns = self.turns.saturating_add(1);
        let ask = pause != Pause::Again || self.turns > TRUSTING;
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

    /// Counts a takeover behind the deadline.
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

    /// Sleeps until `word` is no longer `seen`, after a turn that said so.
    pub(crate) fn sleep(&mut self, word: Word<'_>, seen: u32) {
        self.slept = true;
        if let Some(wait) = &mut self.wait {
            wait.sleep(word.as_atomic(), seen.to_le());
        }
    }

    /// Whether a wake-up may have been spent on us.
    pub(crate) fn has_slept(&self) -> bool {
        self.slept
    }
}
