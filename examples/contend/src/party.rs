//! A partition that is attached, beats from a thread of its own, and watches the others.

use std::cell::{Cell, RefCell, RefMut};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use shmem_core::primitive::AtomicU32;
use shmem_core::wait::{Pause, Wait};
use shmem_core::{Incarnation, Liveness, PartitionState};
use shmem_registry::liveness::BEAT;
use shmem_registry::{Attachment, Heartbeats, Process};
use shmem_sync::{SleepPoll, SpinYield};

use crate::area::Area;
use crate::cli;
use crate::notes::Notes;
use crate::report::{Event, Report, Who};
use crate::stop::Stop;

/// The longest sleep between two looks.
const NAP: Duration = Duration::from_millis(1);

/// This partition, for one use.
pub(crate) struct Party<'m> {
    pub(crate) area: Area<'m>,
    pub(crate) incarnation: Incarnation,
    pub(crate) notes: Notes<'m>,
    pub(crate) report: Report,
    pub(crate) options: &'m cli::Party,
    attachment: &'m Attachment<'m>,
    watch: RefCell<Watch<'m>>,
    /// How often it looked in vain.
    looks: Cell<u64>,
    began: Instant,
}

impl Party<'_> {
    pub(crate) fn number(&self) -> u8 {
        self.incarnation.partition()
    }

    /// A wait by looking, until the party's deadline from now on.
    pub(crate) fn wait(&self) -> Looking<'_> {
        let timeout = self.options.timeout;
        let way = match self.options.spin {
            true => Way::Spin(SpinYield::timeout(timeout)),
            false => Way::Nap(SleepPoll::timeout(timeout, NAP)),
        };
        let looks = &self.looks;
        Looking { way, looks }
    }

    /// An error if another has this party's place: nothing more is to be stored then.
    pub(crate) fn check(&self) -> Result<(), Stop> {
        let kept = self.attachment.check();
        kept.map_err(|evicted| Stop::Evicted(evicted.to_string()))
    }

    pub(crate) fn done(&self, rounds: u32) {
        let millis = self.began.elapsed().as_millis() as u64;
        let looks = self.looks.get();
        self.report.say(&Event::Done {
            rounds,
            looks,
            millis,
        });
    }
}

/// How a party waits: nobody rings across kernels.
pub(crate) struct Looking<'p> {
    way: Way,
    looks: &'p Cell<u64>,
}

enum Way {
    Spin(SpinYield),
    Nap(SleepPoll),
}

impl Wait for Looking<'_> {
    fn pause(&mut self) -> Pause {
        self.looks.set(self.looks.get() + 1);
        match &mut self.way {
            Way::Spin(spin) => spin.pause(),
            Way::Nap(nap) => nap.pause(),
        }
    }

    fn sleep(&mut self, _: &AtomicU32, _: u32) {}
}

impl<'m> Party<'m> {
    /// What is known of the others, which says so when it learns that one is silent or gone.
    pub(crate) fn liveness(&self) -> RefMut<'_, Watch<'m>> {
        let mut watch = self.watch.borrow_mut();
        watch.since = Instant::now();
        watch
    }
}

/// Heartbeats, and a line at each that is found to stand still.
pub(crate) struct Watch<'m> {
    heartbeats: Heartbeats<'m, fn() -> Duration>,
    since: Instant,
    said: Vec<(Incarnation, PartitionState)>,
    report: Report,
}

impl Liveness for Watch<'_> {
    fn state(&mut self, incarnation: Incarnation) -> PartitionState {
        let state = self.heartbeats.state(incarnation);
        if state != PartitionState::Alive && !self.said.contains(&(incarnation, state)) {
            self.said.push((incarnation, state));
            let who = Who::new(incarnation, self.since.elapsed().as_millis() as u64);
            self.report.say(&match state {
                PartitionState::Gone => Event::Gone(who),
                _ => Event::Silent(who),
            });
        }
        state
    }
}

/// Tells the beating thread to end, however this one ends.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// Attaches, does `work` while it beats, and leaves.
pub(crate) fn attend(
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
            said: Vec::new(),
            report,
        }),
        looks: Cell::new(0),
        began: Instant::now(),
    };
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let _ending = Ending(&ended);
        scope.spawn(|| {
            // Evicted, it beats no more; the work finds out by itself.
            while !ended.load(Relaxed) && attachment.beat().is_ok() {
                thread::sleep(BEAT);
            }
        });
        work(&party)
    })
}
