//! `^C` at KMON: ends the running command, never KMON.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use signal_hook::consts::SIGINT;

/// Set by `^C` (SIGINT) until [`Interrupt::clear`].
#[derive(Clone, Debug)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// How often a waiting command checks for `^C`.
    pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(50);

    /// Installs the signal handler.
    pub(crate) fn install() -> anyhow::Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(SIGINT, Arc::clone(&flag)).context("SIGINT")?;
        Ok(Self(flag))
    }

    /// Returns true if there was a `^C` since the last [`Interrupt::clear`].
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Returns true if there was a `^C`, and forgets it.
    pub(crate) fn take(&self) -> bool {
        self.is_set() && self.0.swap(false, Ordering::Relaxed)
    }

    /// Makes it as if `^C` had been pressed now.
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn clear(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// Waits for a `^C` in a task.
    pub(crate) async fn wait(&self) {
        while !self.is_set() {
            tokio::time::sleep(Self::POLL_INTERVAL).await;
        }
    }

    /// Sleeps until `deadline`. Returns false if a `^C` came first.
    pub(crate) fn sleep_until(&self, deadline: Instant) -> bool {
        while !self.is_set() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            std::thread::sleep(left.min(Self::POLL_INTERVAL));
        }
        false
    }
}
