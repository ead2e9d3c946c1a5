//! Faults of real processes, in rounds.
//!
//! The processes map a memfd and work on the object as fast as they can, until they are
//! killed. Then a survivor in the harness recovers at once, and checks the object against the
//! ledger. In a run of stalls the processes are stopped for a while, and no party may recover.

use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use shmem_core::Mapping;

use super::arguments::Detection;
use super::attachments::Attachments;
use super::round::Round;
use crate::fault::FaultKind;
use crate::harness::Harness;
use crate::memory::TestMemory;
use crate::report::Found;
use crate::scenario::Scenario;
use crate::verdict::{OrViolation, Outcome};

/// Faults in one round; the next round has fresh memory.
const ROUND: u64 = 40;
/// Time between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(5);
/// The processes of one scenario end after this many violations.
const ENOUGH: usize = 20;

pub(crate) struct Processes<'a> {
    pub(crate) harness: Harness<'a>,
    pub(crate) scenario: &'static Scenario,
    pub(crate) fault: FaultKind,
    /// If `None`, processes that are stopped choose at random.
    pub(crate) detection: Option<Detection>,
}

impl Processes<'_> {
    /// Kills or stops at least `points` processes.
    pub(crate) fn run(&self, points: u64, seeds: &mut Rng) {
        let Harness { tally, stop, .. } = self.harness;
        let reached = || tally.counts().points;
        let found = || tally.counts().violations.len();
        let (end, violations) = (reached() + points, found());
        let mut shown = Instant::now();
        while reached() < end && !stop() && found() - violations < ENOUGH {
            let (seed, start) = (seeds.u64(..), reached());
            let mut point = String::new();
            let played = self.round(seed, (end - start).min(ROUND), &mut point);
            if let Err(violation) = played {
                tally.violation(Found {
                    scenario: self.scenario.name,
                    seed: Some(seed),
                    point: format!("point {}: {point}", reached() - start),
                    violation,
                });
            }
            if shown.elapsed() >= PROGRESS {
                shown = Instant::now();
                let left = end.saturating_sub(reached());
                tally.line(&format!("{}: {left} more", self.scenario.name));
            }
        }
    }

    /// Plays one round, until all its processes have ended. `point` describes the current step.
    fn round(&self, seed: u64, points: u64, point: &mut String) -> Outcome {
        let Self {
            scenario, fault, ..
        } = *self;
        let mut rng = Rng::with_seed(seed);
        let shape = scenario.shapes[rng.usize(..scenario.shapes.len())];
        let layout = (scenario.layout)(shape);
        let mapping = Mapping::memfd("kill", layout.len()).or_violation("memory")?;
        let memory = TestMemory::format(mapping.window(), &layout, shape)?;
        (scenario.initialize)(&memory)?;
        let detection = self.detection.unwrap_or_else(|| match fault {
            FaultKind::Stall if rng.bool() => Detection::Heartbeat,
            _ => Detection::Pidfd,
        });
        let attachments = Attachments::new(memory, detection, scenario);
        thread::scope(|scope| {
            let _beating = attachments.beat(scope);
            let scene = scenario.scene(memory, attachments.observer());
            let mut round =
                Round::open(self.harness, scenario, &mapping, scene, &attachments, rng)?;
            match fault {
                FaultKind::Death => round.kill_some(points, point)?,
                FaultKind::Stall => round.stop_some(points, point)?,
            }
            round.close(point)
        })
    }
}
