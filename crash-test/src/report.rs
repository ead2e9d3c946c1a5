//! Counts and violations of a run, as text and as JSON.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use crate::console::Console;
use crate::fault::FaultKind;
use crate::scenario::Scenario;
use crate::verdict::Violation;

/// Prints the list of scenarios.
pub(crate) fn list(scenarios: &[&Scenario], json: bool) {
    let console = Console { to_stderr: false };
    if json {
        let scenarios: Vec<_> = scenarios
            .iter()
            .map(|scenario| json!({ "name": scenario.name, "about": scenario.about }))
            .collect();
        console.line(&Value::from(scenarios).to_string());
        return;
    }
    for scenario in scenarios {
        console.line(&format!("{:<14}  {}", scenario.name, scenario.about));
    }
}

/// A violation and where it was found.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) scenario: &'static str,
    /// The seed of the round of processes.
    pub(crate) seed: Option<u64>,
    /// Which actor had the fault, and at which point.
    pub(crate) point: String,
    pub(crate) violation: Violation,
}

/// The results of a run; clones share them.
#[derive(Clone)]
pub(crate) struct Tally {
    counts: Arc<Mutex<Counts>>,
    /// The output for violations and progress; nothing is printed if it is `None`.
    console: Option<Console>,
}

#[derive(Clone, Default)]
pub(crate) struct Counts {
    fault: FaultKind,
    /// Faults of processes.
    pub(crate) points: u64,
    /// Faults at chosen stores.
    pub(crate) enumerated: u64,
    /// Stalls in which an evicted party did damage by the store that it was in.
    pub(crate) late_damage: u64,
    pub(crate) violations: Vec<Found>,
    /// The time of each recovery from deaths of processes.
    pub(crate) recoveries: Vec<Duration>,
    /// How often an incarnation was silent for longer than the limit, and not gone.
    pub(crate) false_silences: u64,
}

impl Tally {
    pub(crate) fn new(console: Option<Console>, fault: FaultKind) -> Self {
        let counts = Counts {
            fault,
            ..Counts::default()
        };
        Self {
            counts: Arc::new(Mutex::new(counts)),
            console,
        }
    }

    pub(crate) fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn line(&self, text: &str) {
        if let Some(console) = self.console {
            console.line(text);
        }
    }

    /// Prints how many faults a scenario has had since `before`.
    pub(crate) fn progress(&self, name: &str, before: &Counts) {
        let counts = self.counts().clone();
        let (at_stores, at_moments) = match counts.fault {
            FaultKind::Death => ("died", "killed"),
            FaultKind::Stall => ("stopped", "as processes"),
        };
        let enumerated = counts.enumerated - before.enumerated;
        let points = counts.points - before.points;
        self.line(&format!(
            "{name}: {at_stores} at {enumerated} stores, {at_moments} {points} times"
        ));
    }

    /// Counts a fault of a process, if the run is about faults of this kind.
    pub(crate) fn count_point(&self, fault: FaultKind) {
        let mut counts = self.counts();
        counts.points += u64::from(counts.fault == fault);
    }

    /// Counts a violation, and prints it.
    pub(crate) fn violation(&self, found: Found) {
        self.line(&found.text());
        self.counts().violations.push(found);
    }

    /// Prints the results; the form of the last line is fixed.
    pub(crate) fn close(&self, json: bool) {
        let counts = self.counts().clone();
        self.line(&counts.details());
        self.line(&counts.closing());
        if json {
            Console { to_stderr: false }.line(&counts.document().to_string());
        }
    }
}

impl Counts {
    fn slowest(&self) -> Duration {
        self.recoveries.iter().max().copied().unwrap_or_default()
    }

    fn median(&self) -> Duration {
        let mut sorted = self.recoveries.clone();
        sorted.sort();
        sorted.get(sorted.len() / 2).copied().unwrap_or_default()
    }

    fn details(&self) -> String {
        let mut text = format!("{} enumerated points", self.enumerated);
        if !self.recoveries.is_empty() {
            text += &format!(", median recovery {} ms", millis(self.median()));
        }
        if self.late_damage != 0 {
            text += &format!(
                ", {} times an evicted party did damage by the step that it was in",
                self.late_damage
            );
        }
        if self.false_silences != 0 {
            text += &format!(
                ", {} times an incarnation was silent for longer than the limit and not gone",
                self.false_silences
            );
        }
        text
    }

    fn closing(&self) -> String {
        if self.fault == FaultKind::Stall {
            let found = self.violations.len();
            return format!("{} stalls, {found} violations", self.points);
        }
        format!(
            "{} kill points, {} violations, slowest recovery {} ms",
            self.points,
            self.violations.len(),
            millis(self.slowest())
        )
    }

    fn document(&self) -> Value {
        let violations: Vec<_> = self.violations.iter().map(Found::document).collect();
        json!({
            "fault": match self.fault {
                FaultKind::Death => "death",
                FaultKind::Stall => "stall",
            },
            "points": self.points,
            "enumerated": self.enumerated,
            "late_damage": self.late_damage,
            "violations": violations,
            "slowest_recovery_ms": self.slowest().as_secs_f64() * 1e3,
            "median_recovery_ms": self.median().as_secs_f64() * 1e3,
            "false_silences": self.false_silences,
        })
    }
}

impl Found {
    fn text(&self) -> String {
        let seed = self
            .seed
            .map_or(String::new(), |seed| format!(", seed {seed}"));
        format!(
            "VIOLATION in {}{seed}, {}\n  {}",
            self.scenario, self.point, self.violation
        )
    }

    fn document(&self) -> Value {
        json!({
            "scenario": self.scenario,
            "seed": self.seed,
            "point": self.point,
            "found": self.violation.what,
        })
    }
}

fn millis(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts() -> Counts {
        Counts {
            fault: FaultKind::Death,
            points: 600,
            enumerated: 1234,
            late_damage: 0,
            violations: vec![Found {
                scenario: "mutex",
                seed: Some(7),
                point: "point 3: locker is killed".to_owned(),
                violation: Violation::new("two inside".to_owned()),
            }],
            recoveries: [4, 1, 2].map(Duration::from_millis).to_vec(),
            false_silences: 0,
        }
    }

    #[test]
    fn the_last_line_has_the_form_that_scripts_read() {
        let line = "600 kill points, 1 violations, slowest recovery 4.0 ms";
        assert_eq!(counts().closing(), line);
        let line = "0 kill points, 0 violations, slowest recovery 0.0 ms";
        assert_eq!(Counts::default().closing(), line);
        let stalls = Counts {
            fault: FaultKind::Stall,
            ..counts()
        };
        assert_eq!(stalls.closing(), "600 stalls, 1 violations");
    }

    #[test]
    fn enumerated_points_are_on_a_separate_line() {
        let line = "1234 enumerated points, median recovery 2.0 ms";
        assert_eq!(counts().details(), line);
    }

    #[test]
    fn a_violation_names_its_place_and_its_cause() {
        let found = &counts().violations[0];
        let text = "VIOLATION in mutex, seed 7, point 3: locker is killed\n  two inside";
        assert_eq!(found.text(), text);
        let document = counts().document();
        assert_eq!(document["violations"][0]["found"], "two inside");
        assert_eq!(document["violations"][0]["seed"], 7);
    }
}
