//! A partition that is attached, beats on a thread of its own, and watches the others.

use std::cell::{Cell, RefCell, RefMut};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use shmem_core::primitive::AtomicU32;
use shmem_core::wait::{Pause, Wait};
use shmem_core::{Incarnation, Liveness, PartitionState};
use shmem_registry::liveness::BEAT_INTERVAL;
use shmem_registry::{Attachment, Heartbeats, Process};
use shmem_sync::{SleepPoll, SpinYield};

use crate::area::Area;
use crate::cli;
use crate::notes::Notes;
use crate::report::{Event, Peer, Report};
use crate::stop::Stop;

/// The longest sleep between two checks.
const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// This partition, while it is attached.
pub(crate) struct Party<'m> {
    pub(crate) area: Area<'m>,
    pub(crate) incarnation: Incarnation,
    pub(crate) notes: Notes<'m>,
    pub(crate) report: Report,
    pub(crate) options: &'m cli::Party,
    attachment: &'m Attachment<'m>,
    watch: RefCell<Watch<'m>>,
    /// The number of unsuccessful checks.
    polls: Cell<u64>,
    began: Instant,
}

impl Party<'_> {
    pub(crate) fn number(&self) -> u8 {
        self.incarnation.partition()
    }

    /// Returns a wait by polling, until the party's time limit from now on.
    pub(crate) fn wait(&self) -> PollWait<'_> {
        let timeout = self.options.timeout;
        let method = match self.options.spin {
            true => PollMethod::Spin(SpinYield::timeout(timeout)),
            false => PollMethod::Sleep(SleepPoll::timeout(timeout, POLL_INTERVAL)),
        };
        let polls = &self.polls;
        PollWait { method, polls }
    }

    /// Returns an error if another has this party's place: then it must store nothing more.
    pub(crate) fn check(&self) -> Result<(), Stop> {
        let checked = self.attachment.check();
        checked.map_err(|evicted| Stop::Evicted(evicted.to_string()))
    }

    pub(crate) fn done(&self, rounds: u32) {
        let millis = self.began.elapsed().as_millis() as u64;
        let polls = self.polls.get();
        self.report.say(&Event::Done {
            rounds,
            polls,
            millis,
        });
    }
}

/// A wait by polling, since there are no doorbells between the kernels.
pub(crate) struct PollWait<'p> {
    method: PollMethod,
    polls: &'p Cell<u64>,
}

enum PollMethod {
    Spin(SpinYield),
    Sleep(SleepPoll),
}

impl Wait for PollWait<'_> {
    fn pause(&mut self) -> Pause {
        self.polls.set(self.polls.get() + 1);
        match &mut self.method {
            PollMethod::Spin(spin) => spin.pause(),
            PollMethod::Sleep(sleep) => sleep.pause(),
        }
    }

    fn sleep(&mut self, _: &AtomicU32, _: u32) {}
}

impl<'m> Party<'m> {
    /// Returns the liveness of the others, which reports each that becomes silent or gone.
    pub(crate) fn liveness(&self) -> RefMut<'_, Watch<'m>> {
        let mut watch = self.watch.borrow_mut();
        watch.since = Instant::now();
        watch
    }
}

/// Heartbeats of the others; reports each that stands still.
pub(crate) struct Watch<'m> {
    heartbeats: Heartbeats<'m, fn() -> Duration>,
    since: Instant,
    reported: Vec<(Incarnation, PartitionState)>,
    report: Report,
}

impl Liveness for Watch<'_> {
    fn state(&mut self, incarnation: Incarnation) -> PartitionState {
        let state = self.heartbeats.state(incarnation);
        if state != PartitionState::Alive && !self.reported.contains(&(incarnation, state)) {
            self.reported.push((incarnation, state));
            let peer = Peer::new(incarnation, self.since.elapsed().as_millis() as u64);
            self.report.say(&match state {
                PartitionState::Gone => Event::Gone(peer),
                _ => Event::Silent(peer),
            });
        }
        state
    }
}

/// Ends the thread of heartbeats when it is dropped.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// Attaches, does `work` while it beats, and leaves.
pub(crate) fn run_attached(
    area: Area<'_>,
    options: &cli::Party,
    report: Report,
    work: impl FnOnce(&Party<'_>) -> Result<()>,
) -> Result<()> {
    let registry = area.registry();
    let number = options.partition;
    let slot = registry.partition(number)?;
    let attachment = match (options.restart, slot.incarnation) {
        (true, Some(earlier)) => registry.attach_after(earlier, Process::UNKNOWN)?,
        _ => registry.attach_partition(number, Process::UNKNOWN)?,
    };
    let incarnation = attachment.incarnation();
    report.say(&Event::Attached {
        partition: number,
        incarnation: incarnation.number(),
    });
    let heartbeats = Heartbeats::with_limit(registry, options.silent_after);
    let heartbeats = match options.presume_gone_after {
        Some(limit) => heartbeats.presume_gone_after(limit),
        None => heartbeats,
    };
    let party = Party {
        area,
        incarnation,
        notes: area.open_notes()?,
        report,
        options,
        attachment: &attachment,
        watch: RefCell::new(Watch {
            heartbeats,
            since: Instant::now(),
            reported: Vec::new(),
            report,
        }),
        polls: Cell::new(0),
        began: Instant::now(),
    };
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let _ending = Ending(&ended);
        scope.spawn(|| {
            // After an eviction it no longer beats; the work detects the eviction itself.
            while !ended.load(Relaxed) && attachment.beat().is_ok() {
                thread::sleep(BEAT_INTERVAL);
            }
        });
        work(&party)
    })
}
