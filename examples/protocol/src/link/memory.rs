//! What works across the region's memory: the two ends try it when they meet.
//!
//! The rings, the snapshots and the heartbeats do without read-modify-write, so that a link
//! works where it is broken. Whoever puts more into the region has to know.
//!
//! KMON asks and the instance answers, [`PATIENCE`] long at most.

use std::time::Duration;

use shmem_core::primitive::AtomicU32;
use shmem_core::wait::{Pause, Wait};
use shmem_registry::{Kind, OpenError, Request, Segment};
use shmem_sync::SpinYield;
use shmem_sync::litmus::{Finding, Litmus, Unfit, Verdict};

use super::{LinkError, Waiting, segment};

/// How long one end waits for the other in a trial: less than a heartbeat may take.
const PATIENCE: Duration = Duration::from_millis(50);

/// What is known to be broken, in words.
pub fn faults(verdict: &Verdict) -> impl Iterator<Item = Unfit> {
    let unfit = [
        verdict.require_read_modify_write(),
        verdict.require_fences(),
    ];
    let broken = [verdict.read_modify_write, verdict.fences].map(Finding::is_broken);
    let faults = unfit.into_iter().zip(broken);
    faults.filter_map(|(unfit, is_broken)| unfit.err().filter(|_| is_broken))
}

/// Whether another trial could tell more.
pub fn is_open(verdict: &Verdict) -> bool {
    let findings = [verdict.read_modify_write, verdict.fences];
    findings.contains(&Finding::Unknown) && faults(verdict).next().is_none()
}

/// One end of the trials.
#[derive(Clone)]
pub(super) struct Trial<'m> {
    /// Nothing in a region of a KMON that makes no trials.
    litmus: Option<Litmus<'m>>,
    waiting: Waiting,
}

impl<'m> Trial<'m> {
    pub(super) fn new(
        waiting: &Waiting,
        mut open: impl FnMut(&Request) -> Result<Segment<'m>, OpenError>,
    ) -> Result<Self, LinkError> {
        let len = Litmus::segment_len();
        let litmus = match segment(&mut open, "kmon.litmus", Kind::LITMUS, len) {
            Ok(segment) => Some(segment.window()),
            Err(LinkError::Unformatted(_)) => None,
            Err(error) => return Err(error),
        };
        let litmus = litmus.map(Litmus::attach).transpose();
        Ok(Self {
            litmus: litmus.map_err(|e| LinkError::new("kmon.litmus", e))?,
            waiting: waiting.clone(),
        })
    }

    /// Nothing where there is nothing to be tried, either: of one kernel it is known.
    fn litmus(&self) -> Option<Litmus<'m>> {
        let apart = !matches!(self.waiting, Waiting::Futex);
        self.litmus.filter(|_| apart)
    }

    /// Whether there is anything to be tried.
    pub(super) fn is_due(&self) -> bool {
        self.litmus().is_some()
    }

    pub(super) fn ask(&self) -> Option<Verdict> {
        Some(self.litmus()?.ask(&mut Rousing {
            spin: SpinYield::timeout(PATIENCE),
            sleeper: Some(&self.waiting),
        }))
    }

    /// Answers, if it is asked for.
    pub(super) fn answer(&self) -> Option<Verdict> {
        self.litmus()?.answer(&mut SpinYield::timeout(PATIENCE))
    }
}

/// Wakes the other end first: it may sleep for longer than this one waits.
struct Rousing<'w> {
    spin: SpinYield,
    sleeper: Option<&'w Waiting>,
}

impl Wait for Rousing<'_> {
    fn pause(&mut self) -> Pause {
        if let Some(sleeper) = self.sleeper.take() {
            sleeper.disturb();
        }
        self.spin.pause()
    }

    fn sleep(&mut self, rings: &AtomicU32, seen: u32) {
        self.spin.sleep(rings, seen);
    }
}

#[cfg(test)]
mod tests {
    use shmem_core::mem::Heap;

    use super::*;
    use crate::Settings;
    use crate::link::{DaemonLink, MonitorLink};

    fn ends<'m>(heap: &'m Heap, waiting: &Waiting) -> (MonitorLink<'m>, DaemonLink<'m>) {
        let settings = Settings {
            partition: 2,
            period_ms: 1000,
            name: "an instance".into(),
        };
        let monitor = MonitorLink::create(heap.window(), &settings, waiting.clone()).unwrap();
        let daemon = DaemonLink::attach(heap.window(), waiting.clone()).unwrap();
        (monitor, daemon)
    }

    #[test]
    fn two_ends_find_out_that_memory_of_this_machine_works() {
        let heap = Heap::new(MonitorLink::REGION_LEN);
        let (monitor, daemon) = ends(&heap, &Waiting::Poll);
        let (_commands, mut events, _) = monitor.split();
        let (_out, mut orders, ..) = daemon.split();
        assert!(orders.may_try_memory());
        assert_eq!(orders.try_memory(), None, "nobody has asked");
        let asked = std::thread::scope(|scope| {
            let asks = scope.spawn(move || {
                // On a busy machine the two seldom run at the same time.
                let deadline = std::time::Instant::now() + Duration::from_secs(60);
                let mut trials = std::iter::from_fn(|| events.try_memory());
                trials.find(|verdict| !is_open(verdict) || std::time::Instant::now() > deadline)
            });
            while !asks.is_finished() {
                if let Some(verdict) = orders.try_memory() {
                    assert_eq!(faults(&verdict).count(), 0, "{verdict}");
                }
            }
            asks.join().unwrap()
        });
        let verdict = asked.expect("somebody asks");
        assert_eq!(verdict.read_modify_write, Finding::Works);
        assert_eq!(faults(&verdict).count(), 0);
    }

    #[test]
    fn of_one_kernel_nothing_is_asked() {
        let heap = Heap::new(MonitorLink::REGION_LEN);
        let (monitor, daemon) = ends(&heap, &Waiting::Futex);
        let (_commands, mut events, _) = monitor.split();
        let (_out, mut orders, ..) = daemon.split();
        assert!(!orders.may_try_memory());
        assert_eq!((events.try_memory(), orders.try_memory()), (None, None));
    }

    #[test]
    fn an_instance_that_does_not_answer_costs_a_moment_and_tells_nothing() {
        let heap = Heap::new(MonitorLink::REGION_LEN);
        let (monitor, _daemon) = ends(&heap, &Waiting::Poll);
        let (_commands, mut events, _) = monitor.split();
        let verdict = events.try_memory().unwrap();
        assert!(is_open(&verdict), "{verdict}");
    }

    #[test]
    fn what_is_broken_is_said_and_not_tried_again() {
        let verdict = Verdict {
            read_modify_write: Finding::Broken { wrong: 1, of: 2 },
            fences: Finding::Unknown,
        };
        assert!(!is_open(&verdict));
        let said: Vec<_> = faults(&verdict).map(|fault| fault.to_string()).collect();
        assert!(
            matches!(&said[..], [one] if one.contains("1 of 2")),
            "{said:?}"
        );
    }
}
