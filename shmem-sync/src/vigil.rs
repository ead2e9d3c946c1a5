//! One caller's wait for the lives that are in its way.
//!
//! Whoever waits for a lock looks at a word, spends a [`Vigil::turn`], and looks
//! again. Every turn counts against the deadline, so nothing that a peer does to
//! the word makes the wait longer.

use shmem_core::mem::Word;
use shmem_core::wait::{Pause, Wait};
use shmem_core::Life;

use crate::error::{LockError, Refusal};
use crate::Liveness;

/// Turns without a sleep before a wait asks whether whom it waits for lives: most
/// owners are back sooner.
const TRUSTING: u32 = 8;

/// How a caller waits, and how far it has come with it.
pub(crate) struct Vigil<'w> {
    /// `None` does not wait.
    wait: Option<&'w mut dyn Wait>,
    liveness: &'w mut dyn Liveness,
    turns: u32,
    slept: bool,
}

/// What comes of a turn.
pub(crate) enum Turn {
    /// Look again.
    Again,
    /// Sleep, if there is something to wake from.
    Sleep,
    /// Whom we wait for is dead.
    Over,
    /// Time is up.
    GiveUp(Refusal),
}

impl<'w> Vigil<'w> {
    /// Looks once.
    pub(crate) fn once(liveness: &'w mut dyn Liveness) -> Self {
        Self {
            wait: None,
            liveness,
            turns: 0,
            slept: false,
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
    pub(crate) fn turn(&mut self, holder: Option<Life>) -> Turn {
        let pause = match &mut self.wait {
            Some(wait) => wait.pause(),
            None => Pause::TimedOut,
        };
        self.turns = self.turns.saturating_add(1);
        let ask = pause != Pause::Again || self.turns > TRUSTING;
        if ask && holder.is_some_and(|holder| self.is_gone(holder)) {
            return Turn::Over;
        }
        match pause {
            Pause::Again => Turn::Again,
            Pause::Sleep => Turn::Sleep,
            Pause::TimedOut if self.wait.is_some() => Turn::GiveUp(LockError::TimedOut),
            Pause::TimedOut => Turn::GiveUp(LockError::Busy),
        }
    }

    pub(crate) fn is_gone(&mut self, life: Life) -> bool {
        self.liveness.is_gone(life)
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
