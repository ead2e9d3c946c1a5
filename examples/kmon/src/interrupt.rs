//! `^C` at KMON: ends the command that runs, never KMON.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use signal_hook::consts::SIGINT;

/// Set by `^C` (SIGINT) until a command takes notice.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// How soon a waiting command sees a `^C`.
    pub(crate) const GLANCE: Duration = Duration::from_millis(50);

    /// Takes the signal over.
    pub(crate) fn install() -> anyhow::Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(SIGINT, Arc::clone(&flag)).context("SIGINT")?;
        Ok(Self(flag))
    }

    /// Whether there was a `^C` since the last [`Interrupt::clear`].
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn clear(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// Sleeps until `deadline`; false if a `^C` came before.
    pub(crate) fn sleep_until(&self, deadline: Instant) -> bool {
        while !self.is_set() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            std::thread::sleep(left.min(Self::GLANCE));
        }
        false
    }
}
