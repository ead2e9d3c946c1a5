//! Getting at the region, which KMON may still have to format.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use kmon_protocol::link::Waiting;
use kmon_protocol::{DaemonLink, LinkError, Place};
use shmem_core::Window;

use crate::cli::{Args, Wait};
use crate::signals::StopSignals;

/// First pause between two looks at memory that is no region.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
/// The longest, after doubling.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Attaches to the region, as often as KMON formats it.
pub(crate) struct Attacher {
    memory: Window<'static>,
    place: Place,
    waiting: Waiting,
    wait: Wait,
}

impl Attacher {
    pub(crate) fn new(args: &Args, memory: Window<'static>) -> Self {
        Self {
            memory,
            place: args.region.clone(),
            waiting: args.waiting(),
            wait: args.wait(),
        }
    }

    /// Attaches, as soon as the memory is a region; nothing if a signal asks to
    /// stop first. `begins_to_wait` is called before it waits.
    ///
    /// # Errors
    ///
    /// The region cannot be attached to, or it took KMON too long to format it.
    pub(crate) fn attach(
        &self,
        stop: &StopSignals,
        mut begins_to_wait: impl FnMut() -> Result<()>,
    ) -> Result<Option<DaemonLink<'static>>> {
        let started = Instant::now();
        let mut pause = None;
        loop {
            match DaemonLink::attach(self.memory, self.waiting) {
                Err(LinkError::Unformatted(_)) if !self.is_over(started) => {}
                done => return self.end(done, started).map(Some),
            }
            if pause.is_none() {
                crate::log(format_args!("waiting for KMON to format {}", self.place));
                begins_to_wait()?;
            }
            let next = pause.map_or(SHORTEST_PAUSE, |pause| LONGEST_PAUSE.min(pause * 2));
            pause = Some(next);
            if stop.asked_within(next.min(self.left(started))) {
                return Ok(None);
            }
        }
    }

    fn left(&self, started: Instant) -> Duration {
        match self.wait {
            Wait::For(limit) => limit.saturating_sub(started.elapsed()),
            Wait::Forever => Duration::MAX,
        }
    }

    fn is_over(&self, started: Instant) -> bool {
        self.left(started).is_zero()
    }

    fn end(
        &self,
        done: Result<DaemonLink<'static>, LinkError>,
        started: Instant,
    ) -> Result<DaemonLink<'static>> {
        let waited = started.elapsed().as_secs();
        done.with_context(|| match self.wait {
            Wait::For(limit) if !limit.is_zero() && self.is_over(started) => {
                format!("cannot attach to region {} after {waited} s", self.place)
            }
            _ => format!("cannot attach to region {}", self.place),
        })
    }
}
