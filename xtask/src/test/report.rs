//! What the person, or the program, who started the tests gets to read.

use serde_json::{Value, json};

use super::groups::Group;
use super::runner::Outcome;
use crate::console::Console;

pub(super) fn list(groups: &[&Group], json: bool) {
    let console = Console { to_stderr: false };
    if json {
        let groups: Vec<_> = groups
            .iter()
            .map(|group| json!({ "name": group.name, "about": group.about }))
            .collect();
        console.line(&Value::from(groups).to_string());
        return;
    }
    for group in groups {
        console.line(&format!("{:<10}  {}", group.name, group.about));
    }
}

pub(super) fn summary(outcomes: &[Outcome], json: bool) {
    let text = if json {
        document(outcomes).to_string()
    } else {
        table(outcomes)
    };
    Console { to_stderr: false }.line(&text);
}

fn totals(outcomes: &[Outcome]) -> (u32, u32) {
    outcomes.iter().fold((0, 0), |(passed, failed), outcome| {
        (passed + outcome.tally.passed, failed + outcome.tally.failed)
    })
}

fn table(outcomes: &[Outcome]) -> String {
    let mut lines = Vec::new();
    for outcome in outcomes {
        for failure in &outcome.tally.failures {
            lines.push(format!("FAILED {}: {}", outcome.name, failure.reason));
            lines.push(format!("  reproduce: {}", failure.reproduce));
            lines.extend(failure.said.iter().map(|line| format!("  {line}")));
        }
    }
    for outcome in outcomes {
        let skipped = outcome.tally.skipped.iter();
        lines.extend(skipped.map(|why| format!("skipped {}: {why}", outcome.name)));
    }
    if !lines.is_empty() {
        lines.push(String::new());
    }
    lines.push(format!(
        "{:<10} {:>7} {:>7} {:>9}",
        "GROUP", "PASSED", "FAILED", "TIME"
    ));
    for outcome in outcomes {
        lines.push(format!(
            "{:<10} {:>7} {:>7} {:>7.1} s",
            outcome.name,
            outcome.tally.passed,
            outcome.tally.failed,
            outcome.time.as_secs_f64()
        ));
    }
    let (passed, failed) = totals(outcomes);
    lines.push(String::new());
    lines.push(format!("{passed} passed, {failed} failed"));
    lines.join("\n")
}

fn document(outcomes: &[Outcome]) -> Value {
    let (passed, failed) = totals(outcomes);
    let groups: Vec<_> = outcomes
        .iter()
        .map(|outcome| {
            let failures: Vec<_> = outcome
                .tally
                .failures
                .iter()
                .map(|failure| {
                    json!({
                        "reason": failure.reason,
                        "reproduce": failure.reproduce,
                        "said": failure.said,
                    })
                })
                .collect();
            json!({
                "name": outcome.name,
                "passed": outcome.tally.passed,
                "failed": outcome.tally.failed,
                "seconds": outcome.time.as_secs_f64(),
                "failures": failures,
                "skipped": outcome.tally.skipped,
            })
        })
        .collect();
    json!({ "groups": groups, "passed": passed, "failed": failed })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::counts::Tally;
    use super::*;

    fn outcomes() -> Vec<Outcome> {
        let mut tally = Tally::default();
        tally.pass();
        tally.fail(2, "a, b".to_owned(), "cargo test".to_owned());
        tally.failures[0].said.push("left: 1".to_owned());
        tally.skipped.push("no release".to_owned());
        vec![Outcome {
            name: "unit",
            tally,
            time: Duration::from_millis(1250),
        }]
    }

    #[test]
    fn the_last_line_is_the_total_alone() {
        let table = table(&outcomes());
        assert_eq!(table.lines().last(), Some("1 passed, 2 failed"));
        assert!(table.contains("FAILED unit: a, b\n  reproduce: cargo test\n  left: 1\n"));
        assert!(table.contains("\nskipped unit: no release\n\n"));
        assert!(table.contains("unit             1       2     1.2 s"));
    }

    #[test]
    fn the_document_has_what_the_table_has() {
        let document = document(&outcomes());
        assert_eq!(document["failed"], 2);
        let failure = &document["groups"][0]["failures"][0];
        assert_eq!(failure["reason"], "a, b");
        assert_eq!(failure["said"][0], "left: 1");
        assert_eq!(document["groups"][0]["skipped"][0], "no release");
    }
}
