//! What was tried, what was found, and how a person or a program gets to read it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use super::scenario::{Scenario, Violation};
use crate::console::Console;

/// The scenarios, for a person or a program that chooses.
pub(super) fn list(scenarios: &[&dyn Scenario], json: bool) {
    let console = Console { to_stderr: false };
    if json {
        let scenarios: Vec<_> = scenarios
            .iter()
            .map(|scenario| json!({ "name": scenario.name(), "about": scenario.about() }))
            .collect();
        console.line(&Value::from(scenarios).to_string());
        return;
    }
    for scenario in scenarios {
        console.line(&format!("{:<14}  {}", scenario.name(), scenario.about()));
    }
}

/// A violation and where it was found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) scenario: &'static str,
    /// Of the session of processes.
    pub(super) seed: Option<u64>,
    /// Who died where.
    pub(super) point: String,
    pub(super) violation: Violation,
}

/// What came of a run; its copies are one and the same.
#[derive(Clone)]
pub(super) struct Tally {
    counts: Arc<Mutex<Counts>>,
    /// Where violations and progress are printed; nowhere if there is none.
    console: Option<Console>,
}

#[derive(Clone, Default)]
pub(super) struct Counts {
    /// Whether they are stops, not deaths.
    stall: bool,
    /// Deaths of processes.
    pub(super) points: u64,
    /// Deaths at chosen stores.
    pub(super) enumerated: u64,
    /// Stops after which the one store under way of a party that was told left damage.
    pub(super) landed: u64,
    pub(super) violations: Vec<Found>,
    /// A time for each recovery from deaths of processes.
    pub(super) recoveries: Vec<Duration>,
    /// How often a life was silent for longer than the limit, and not over.
    pub(super) doubts: u64,
}

impl Tally {
    pub(super) fn new(console: Option<Console>, stall: bool) -> Self {
        let counts = Counts {
            stall,
            ..Counts::default()
        };
        Self {
            counts: Arc::new(Mutex::new(counts)),
            console,
        }
    }

    pub(super) fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn line(&self, text: &str) {
        if let Some(console) = self.console {
            console.line(text);
        }
    }

    /// Prints what a scenario came to since `before`.
    pub(super) fn progress(&self, name: &str, before: &Counts) {
        let counts = self.counts().clone();
        self.line(&format!(
            "{name}: {} at {} stores, {} {} times",
            if counts.stall { "stopped" } else { "died" },
            counts.enumerated - before.enumerated,
            if counts.stall { "processes" } else { "killed" },
            counts.points - before.points,
        ));
    }

    /// Counts a violation, and prints it.
    pub(super) fn violation(&self, found: Found) {
        self.line(&found.text());
        self.counts().violations.push(found);
    }

    /// Prints what came of it all; the last line is the same every time.
    pub(super) fn close(&self, json: bool) {
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
        if self.landed != 0 {
            text += &format!(
                ", {} times the one step under way of a party that was gone left damage",
                self.landed
            );
        }
        if self.doubts != 0 {
            text += &format!(
                ", {} times a life was silent for longer than the limit and not over",
                self.doubts
            );
        }
        text
    }

    fn closing(&self) -> String {
        if self.stall {
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
            "fault": if self.stall { "stall" } else { "death" },
            "points": self.points,
            "enumerated": self.enumerated,
            "landed": self.landed,
            "violations": violations,
            "slowest_recovery_ms": self.slowest().as_secs_f64() * 1e3,
            "median_recovery_ms": self.median().as_secs_f64() * 1e3,
            "doubts": self.doubts,
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
            stall: false,
            points: 600,
            enumerated: 1234,
            landed: 0,
            violations: vec![Found {
                scenario: "mutex",
                seed: Some(7),
                point: "point 3: locker is killed".to_owned(),
                violation: Violation::new("two inside".to_owned()),
            }],
            recoveries: [4, 1, 2].map(Duration::from_millis).to_vec(),
            doubts: 0,
        }
    }

    #[test]
    fn the_closing_line_has_the_form_that_scripts_read() {
        let line = "600 kill points, 1 violations, slowest recovery 4.0 ms";
        assert_eq!(counts().closing(), line);
        let line = "0 kill points, 0 violations, slowest recovery 0.0 ms";
        assert_eq!(Counts::default().closing(), line);
        let stalls = Counts {
            stall: true,
            ..counts()
        };
        assert_eq!(stalls.closing(), "600 stalls, 1 violations");
    }

    #[test]
    fn enumerated_points_have_a_line_of_their_own() {
        let line = "1234 enumerated points, median recovery 2.0 ms";
        assert_eq!(counts().details(), line);
    }

    #[test]
    fn a_violation_says_where_and_what() {
        let found = &counts().violations[0];
        let text = "VIOLATION in mutex, seed 7, point 3: locker is killed\n  two inside";
        assert_eq!(found.text(), text);
        let document = counts().document();
        assert_eq!(document["violations"][0]["found"], "two inside");
        assert_eq!(document["violations"][0]["seed"], 7);
    }
}
