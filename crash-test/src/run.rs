//! A run: each scenario with the fault at every store, then in processes.

use fastrand::Rng;

use crate::enumerated;
use crate::fault::FaultKind;
use crate::harness::Harness;
use crate::interrupt;
use crate::processes::{Detection, Processes};
use crate::report::Tally;
use crate::scenario::Scenario;
use crate::watchdog::Watchdog;

pub(crate) struct Plan {
    pub(crate) fault: FaultKind,
    /// How many processes have the fault, in all scenarios together.
    pub(crate) points: Option<u64>,
    pub(crate) detection: Option<Detection>,
    pub(crate) seed: u64,
}

impl Plan {
    fn points(&self) -> u64 {
        self.points.unwrap_or(match (self.fault, self.detection) {
            (FaultKind::Stall, _) => 300,
            (FaultKind::Death, Some(Detection::Heartbeat)) => 60,
            (FaultKind::Death, _) => 600,
        })
    }

    pub(crate) fn run(&self, scenarios: &[&'static Scenario], tally: &Tally, watchdog: &Watchdog) {
        let harness = Harness {
            tally,
            watchdog,
            stop: &interrupt::interrupted,
        };
        let mut seeds = Rng::with_seed(self.seed);
        for (at, &scenario) in scenarios.iter().enumerate() {
            let before = tally.counts().clone();
            let left = self.points().saturating_sub(before.points);
            let share = left.div_ceil((scenarios.len() - at) as u64);
            enumerated::run(&harness, scenario, self.fault);
            let processes = Processes {
                harness,
                scenario,
                fault: self.fault,
                detection: self.detection,
            };
            processes.run(share, &mut seeds);
            tally.progress(scenario.name, &before);
            if interrupt::interrupted() {
                return;
            }
        }
    }
}
