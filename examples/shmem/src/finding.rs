//! Findings: what is wrong with a region.

use std::fmt;

use serde::Serialize;

use crate::text::printable;

/// The largest number of findings that a report keeps, because everything can be damaged at once.
const MAX: usize = 1000;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Damaged: no partition that follows the protocol leaves this.
    Damaged,
    /// A dead partition left this: the others continue, and can recover it.
    Left,
}

/// One thing that is wrong.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    pub severity: Severity,
    /// Identifies the finding for programs; `docs/inspect.md` lists the codes.
    pub code: &'static str,
    /// Where it was found, such as `header` or `row 3 (commands)`.
    pub at: String,
    pub what: String,
}

impl Finding {
    /// Returns true if both are the same finding, found at the same location.
    pub fn is_same_finding(&self, other: &Self) -> bool {
        (self.code, &self.at) == (other.code, &other.at)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Damaged => "damaged",
            Severity::Left => "left",
        };
        write!(f, "{severity}: {}: {}", self.at, self.what)
    }
}

/// The findings of one inspection.
pub(crate) struct Findings {
    pub(crate) kept: Vec<Finding>,
    pub(crate) more: u64,
    /// The largest number to keep.
    max: usize,
}

impl Findings {
    pub(crate) fn new() -> Self {
        Self {
            kept: Vec::new(),
            more: 0,
            max: MAX,
        }
    }

    /// Returns an empty list that keeps as many findings as `self` still can.
    pub(crate) fn new_with_remaining_space(&self) -> Self {
        Self {
            max: self.max - self.kept.len(),
            ..Self::new()
        }
    }

    pub(crate) fn damaged(&mut self, code: &'static str, at: &str, what: impl fmt::Display) {
        self.add(Severity::Damaged, code, at, what);
    }

    pub(crate) fn left(&mut self, code: &'static str, at: &str, what: impl fmt::Display) {
        self.add(Severity::Left, code, at, what);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.kept.is_empty() && self.more == 0
    }

    /// Adds all findings of a list from [`Findings::new_with_remaining_space`].
    pub(crate) fn append(&mut self, other: Self) {
        self.more += other.more;
        self.kept.extend(other.kept);
    }

    fn add(&mut self, severity: Severity, code: &'static str, at: &str, what: impl fmt::Display) {
        if self.kept.len() >= self.max {
            self.more += 1;
            return;
        }
        self.kept.push(Finding {
            severity,
            code,
            at: printable(at),
            what: printable(&what.to_string()),
        });
    }
}
