//! What came out of the guest on one way, and when.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use kmon_protocol::message::Ending;

/// Nothing new for so long is a failure.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is looked for may depend on the time, too.
const GLANCE: Duration = Duration::from_millis(500);

#[derive(Default)]
pub(crate) struct Heard {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
pub(crate) struct State {
    /// Bytes of the console that nobody has taken yet.
    pub(crate) console: Vec<u8>,
    /// When the latest of them came.
    pub(crate) at: Option<Instant>,
    /// The number of the guest daemon's incarnation that has greeted last.
    pub(crate) incarnation: Option<u32>,
    /// What the commands that run apart printed, and how they ended, by their numbers.
    pub(crate) commands: BTreeMap<u32, (Vec<u8>, Option<Ending>)>,
    /// Why nothing more will come.
    pub(crate) broken: Option<String>,
}

impl Heard {
    /// Changes the state from the receiving thread.
    pub(crate) fn note(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }

    /// Waits until `look` finds what it looks for.
    pub(crate) fn wait<T>(
        &self,
        what: &str,
        mut look: impl FnMut(&mut State) -> Option<T>,
    ) -> Result<T> {
        let mut deadline = Instant::now() + PATIENCE;
        let mut state = self.state();
        let mut latest = state.at;
        loop {
            if state.at != latest {
                latest = state.at;
                deadline = Instant::now() + PATIENCE;
            }
            if let Some(found) = look(&mut state) {
                return Ok(found);
            }
            if let Some(why) = &state.broken {
                bail!("no {what}: {why}");
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let len = state.console.len();
                let end = &state.console[len.saturating_sub(80)..];
                let end = String::from_utf8_lossy(end);
                bail!("no {what} in time; the console's {len} bytes end with {end:?}");
            }
            let waited = self.changed.wait_timeout(state, left.min(GLANCE));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
