//! The output of one terminal of the guest, with times.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use kmon_protocol::message::Ending;

/// The time without new output after which a wait fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// Time between two checks of a condition that may depend on the time.
const RECHECK: Duration = Duration::from_millis(500);

#[derive(Default)]
pub(crate) struct Transcript {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
pub(crate) struct State {
    /// Bytes of the console that are not taken yet.
    pub(crate) console: Vec<u8>,
    /// When the latest of them arrived.
    pub(crate) at: Option<Instant>,
    /// The number of the guest daemon's incarnation that has sent the last greeting.
    pub(crate) incarnation: Option<u32>,
    /// The output and the end of each command outside the console, by its number.
    pub(crate) commands: BTreeMap<u32, (Vec<u8>, Option<Ending>)>,
    /// The reason why no more output will come.
    pub(crate) broken: Option<String>,
}

impl Transcript {
    /// Changes the state. The receiving thread calls this.
    pub(crate) fn note(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }

    /// Waits until `find` returns a value.
    pub(crate) fn wait<T>(
        &self,
        what: &str,
        mut find: impl FnMut(&mut State) -> Option<T>,
    ) -> Result<T> {
        let mut deadline = Instant::now() + PATIENCE;
        let mut state = self.state();
        let mut latest = state.at;
        loop {
            if state.at != latest {
                latest = state.at;
                deadline = Instant::now() + PATIENCE;
            }
            if let Some(found) = find(&mut state) {
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
            let waited = self.changed.wait_timeout(state, left.min(RECHECK));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
