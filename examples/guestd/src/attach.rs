//! Finds the region, waits until KMON has formatted it, and attaches to it.

use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result};
use kmon_protocol::link::{Bells, Waiting};
use kmon_protocol::{DaemonLink, LinkError};
use shmem_core::Mapping;
use shmem_core::region::{MapError, MemorySource};

use crate::cli::{Args, Region, Wait};
use crate::doorbell;
use crate::search::{self, Search};
use crate::signals::StopSignals;

/// First pause between two attempts to attach.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
/// The longest pause; pauses double up to this.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Attaches to the region, again each time that KMON formats it.
pub(crate) struct Attacher {
    args: Args,
    search: Search,
    /// `None` until it is found.
    memory: Option<Memory>,
    /// The region's file existed earlier, so a missing file means: wait for it.
    was_attached: bool,
}

/// The region's memory.
struct Memory {
    place: MemorySource,
    /// The daemon's threads use the region until the process ends.
    mapping: &'static Mapping,
    /// The interrupts between KMON and this instance.
    bells: Option<Bells>,
}

/// The result of one attempt.
enum Attempt {
    Attached(Box<DaemonLink<'static>>),
    /// What it waits for, and the error at the time-out.
    NotYet {
        wants: String,
        why: Error,
    },
}

impl Attacher {
    /// Maps the region's memory if its place is known. A device is opened later, because its
    /// descriptors stay in use.
    ///
    /// # Errors
    ///
    /// It cannot be mapped.
    pub(crate) fn new(args: &Args) -> Result<Self> {
        let memory = match &args.region {
            Region::Auto | Region::At(MemorySource::Pci(_)) => None,
            Region::At(place) => {
                let memory = Memory::open(place, args.poll)?;
                // The daemon is a child process, and its parent does not use the mapping.
                let inherit = memory.mapping.inherit_on_fork();
                inherit.context("cannot use the region")?;
                Some(memory)
            }
        };
        Ok(Self {
            args: args.clone(),
            search: Search::this_machine(),
            memory,
            was_attached: false,
        })
    }

    /// Attaches as soon as the memory exists and is a region. Returns `None` if a stop signal
    /// arrives first. Calls `begins_to_wait` before it waits.
    ///
    /// # Errors
    /// The region cannot be attached to, or KMON has not formatted it in time.
    pub(crate) fn attach(
        &mut self,
        stop: &StopSignals,
        mut begins_to_wait: impl FnMut() -> Result<()>,
    ) -> Result<Option<DaemonLink<'static>>> {
        let started = Instant::now();
        let mut pause = None;
        let mut logged = String::new();
        loop {
            let wants = match self.attempt(started)? {
                Attempt::Attached(link) => return Ok(Some(*link)),
                Attempt::NotYet { why, .. } if self.left(started).is_zero() => return Err(why),
                Attempt::NotYet { wants, .. } => wants,
            };
            if logged != wants {
                crate::log(format_args!("waiting for {wants}"));
                logged = wants;
            }
            if pause.is_none() {
                begins_to_wait()?;
            }
            let next = pause.map_or(SHORTEST_PAUSE, |pause| LONGEST_PAUSE.min(pause * 2));
            pause = Some(next);
            if stop.asked_within(next.min(self.left(started))) {
                return Ok(None);
            }
        }
    }

    /// Returns true if the region's file was replaced or removed: KMON uses the new file, if any.
    /// The next [`Attacher::attach`] then opens the place again.
    pub(crate) fn is_file_replaced(&mut self) -> bool {
        let memory = self.memory.as_ref();
        let replaced = memory.is_some_and(|memory| memory.mapping.check().is_err());
        if replaced {
            self.memory = None;
        }
        replaced
    }

    /// Returns true if KMON gets this kernel's log.
    pub(crate) fn sends_kernel_log(&self) -> bool {
        let memory = self.memory.as_ref();
        memory.is_some_and(|memory| self.args.sends_kernel_log(&memory.place))
    }

    fn find(&self) -> Result<Option<MemorySource>> {
        let Region::Auto = &self.args.region else {
            return Ok(self.args.region.place().cloned());
        };
        let found = self.search.find()?;
        if let Some(place) = &found {
            crate::log(format_args!("the region is {place}"));
        }
        Ok(found)
    }

    fn attempt(&mut self, started: Instant) -> Result<Attempt> {
        if self.memory.is_none() {
            let Some(place) = self.find()? else {
                return Ok(Attempt::not_found());
            };
            match Memory::open(&place, self.args.poll) {
                Ok(memory) => self.memory = Some(memory),
                Err(why) if self.was_attached && is_early(&why) => {
                    let wants = format!("{place}, which does not exist");
                    return Ok(Attempt::NotYet { wants, why });
                }
                Err(why) => return Err(why),
            }
        }
        let Some(memory) = &self.memory else {
            return Ok(Attempt::not_found());
        };
        let Memory { place, mapping, .. } = memory;
        let bells = memory.bells.clone().map(Waiting::Bells);
        let waiting = bells.unwrap_or_else(|| self.args.waiting(place));
        let attached = DaemonLink::attach(mapping.window(), waiting);
        let is_unformatted = matches!(attached, Err(LinkError::Unformatted(_)));
        let attached = attached.with_context(|| match self.args.wait() {
            Wait::For(limit) if !limit.is_zero() && self.left(started).is_zero() => {
                let waited = started.elapsed().as_secs();
                format!("cannot attach to region {place} after {waited} s")
            }
            _ => format!("cannot attach to region {place}"),
        });
        match attached {
            Ok(link) => {
                self.was_attached = true;
                Ok(Attempt::Attached(Box::new(link)))
            }
            Err(why) if is_unformatted => Ok(Attempt::NotYet {
                wants: format!("KMON to format {place}"),
                why,
            }),
            Err(why) => Err(why),
        }
    }

    fn left(&self, started: Instant) -> Duration {
        match self.args.wait() {
            Wait::For(limit) => limit.saturating_sub(started.elapsed()),
            Wait::Forever => Duration::MAX,
        }
    }
}

/// Returns true if a file does not exist, or is not complete yet.
fn is_early(why: &Error) -> bool {
    let error = why.root_cause().downcast_ref::<MapError>();
    error.or(why.downcast_ref()).is_some_and(MapError::is_early)
}

impl Attempt {
    fn not_found() -> Self {
        Self::NotYet {
            wants: format!("a region: {}", search::NOTHING),
            why: Error::msg(format!(
                "no region: {}; name its place with --region",
                search::NOTHING
            )),
        }
    }
}

impl Memory {
    /// Maps it, and uses its device's interrupts unless `poll`.
    fn open(place: &MemorySource, poll: bool) -> Result<Self> {
        if let MemorySource::Pci(resource) = place {
            let opened = if poll { None } else { doorbell::open(resource) };
            if let Some((mapping, bells)) = opened {
                return Ok(Self {
                    place: place.clone(),
                    mapping,
                    bells: Some(bells),
                });
            }
            search::enable(resource)?;
        }
        let mapping = place.open().context("cannot use the region")?;
        Ok(Self {
            place: place.clone(),
            mapping: Box::leak(Box::new(mapping)),
            bells: None,
        })
    }
}
