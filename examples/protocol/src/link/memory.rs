//! Tests what works across the region's memory when both ends are attached.
//!
//! The rings, the snapshots and the heartbeats do not use read-modify-write operations, so a link
//! works even if these are broken. Programs that use the region for more need to know.
//!
//! KMON asks and the instance answers, within [`PATIENCE`].

use std::time::Duration;

use shmem_core::primitive::AtomicU32;
use shmem_core::wait::{Pause, Wait};
use shmem_registry::{Kind, OpenError, Request, Segment};
use shmem_sync::SpinYield;
use shmem_sync::litmus::{Finding, Litmus, MissingFeature, Verdict};

use super::{LinkError, Waiting, segment};

/// How long one end waits for the other in a test: shorter than the interval of heartbeats.
const PATIENCE: Duration = Duration::from_millis(50);

/// Returns descriptions of what is known to be broken.
pub fn faults(verdict: &Verdict) -> impl Iterator<Item = MissingFeature> {
    let unfit = [
        verdict.require_read_modify_write(),
        verdict.require_fences(),
    ];
    let broken = [verdict.read_modify_write, verdict.fences].map(Finding::is_broken);
    let faults = unfit.into_iter().zip(broken);
    faults.filter_map(|(unfit, is_broken)| unfit.err().filter(|_| is_broken))
}

/// Returns true if another test could find out more.
pub fn is_inconclusive(verdict: &Verdict) -> bool {
    let findings = [verdict.read_modify_write, verdict.fences];
    findings.contains(&Finding::Unknown) && faults(verdict).next().is_none()
}

/// One end of the tests.
#[derive(Clone)]
pub(super) struct MemoryTest<'m> {
    /// `None` in a region of a KMON that makes no tests.
    litmus: Option<Litmus<'m>>,
    waiting: Waiting,
}

impl<'m> MemoryTest<'m> {
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

    /// Returns the test, unless both ends run on one kernel, where everything works.
    fn litmus(&self) -> Option<Litmus<'m>> {
        let apart = !matches!(self.waiting, Waiting::Futex);
        self.litmus.filter(|_| apart)
    }

    /// Returns true if a test is useful.
    pub(super) fn is_useful(&self) -> bool {
        self.litmus().is_some()
    }

    pub(super) fn ask(&self) -> Option<Verdict> {
        Some(self.litmus()?.ask(&mut WakeThenSpin {
            spin: SpinYield::timeout(PATIENCE),
            sleeper: Some(&self.waiting),
        }))
    }

    /// Answers if the other end asks.
    pub(super) fn answer(&self) -> Option<Verdict> {
        self.litmus()?.answer(&mut SpinYield::timeout(PATIENCE))
    }
}

/// Wakes the other end before it waits: the other end may sleep for longer than the wait.
struct WakeThenSpin<'w> {
    spin: SpinYield,
    sleeper: Option<&'w Waiting>,
}

impl Wait for WakeThenSpin<'_> {
    fn pause(&mut self) -> Pause {
        if let Some(sleeper) = self.sleeper.take() {
            sleeper.wake_peer();
        }
        self.spin.pause()
    }

    fn sleep(&mut self, ring_count: &AtomicU32, seen: u32) {
        self.spin.sleep(ring_count, seen);
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
    fn two_ends_find_that_the_memory_of_this_machine_works() {
        let heap = Heap::new(MonitorLink::REGION_LEN);
        let (monitor, daemon) = ends(&heap, &Waiting::Poll);
        let (_commands, mut events, _) = monitor.split();
        let (_out, mut orders, ..) = daemon.split();
        assert!(orders.may_try_memory());
        assert_eq!(orders.try_memory(), None, "KMON has not asked yet");
        let asked = std::thread::scope(|scope| {
            let asks = scope.spawn(move || {
                // On a busy machine the two ends seldom run at the same time.
                let deadline = std::time::Instant::now() + Duration::from_secs(60);
                let mut trials = std::iter::from_fn(|| events.try_memory());
                trials.find(|verdict| {
                    !is_inconclusive(verdict) || std::time::Instant::now() > deadline
                })
            });
            while !asks.is_finished() {
                if let Some(verdict) = orders.try_memory() {
                    assert_eq!(faults(&verdict).count(), 0, "{verdict}");
                }
            }
            asks.join().unwrap()
        });
        let verdict = asked.expect("KMON asks");
        assert_eq!(verdict.read_modify_write, Finding::Works);
        assert_eq!(faults(&verdict).count(), 0);
    }

    #[test]
    fn ends_on_one_kernel_make_no_test() {
        let heap = Heap::new(MonitorLink::REGION_LEN);
        let (monitor, daemon) = ends(&heap, &Waiting::Futex);
        let (_commands, mut events, _) = monitor.split();
        let (_out, mut orders, ..) = daemon.split();
        assert!(!orders.may_try_memory());
        assert_eq!((events.try_memory(), orders.try_memory()), (None, None));
    }

    #[test]
    fn without_an_answer_the_test_ends_soon_and_stays_inconclusive() {
        let heap = Heap::new(MonitorLink::REGION_LEN);
        let (monitor, _daemon) = ends(&heap, &Waiting::Poll);
        let (_commands, mut events, _) = monitor.split();
        let verdict = events.try_memory().unwrap();
        assert!(is_inconclusive(&verdict), "{verdict}");
    }

    #[test]
    fn a_broken_operation_is_described_and_not_tested_again() {
        let verdict = Verdict {
            read_modify_write: Finding::Broken {
                wrong: 1,
                attempts: 2,
            },
            fences: Finding::Unknown,
        };
        assert!(!is_inconclusive(&verdict));
        let faults: Vec<_> = faults(&verdict).map(|fault| fault.to_string()).collect();
        assert!(
            matches!(&faults[..], [one] if one.contains("1 of 2")),
            "{faults:?}"
        );
    }
}
