//! What is wrong, one line each.

use std::fmt;

use serde::Serialize;

use crate::text::printable;

/// The most that a report keeps: damage can be anywhere at once.
const MAX: usize = 1000;

/// Who can have left it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// No honest partition.
    Damaged,
    /// A partition that died: the others go on, and what it held can be taken back.
    Left,
}

/// One thing that is wrong.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    pub severity: Severity,
    /// What it is, for programs: `docs/inspect.md` lists them.
    pub code: &'static str,
    /// Where: `header`, `row 3 (commands)`.
    pub at: String,
    pub what: String,
}

impl Finding {
    /// Whether both say the same of the same place.
    pub fn is(&self, other: &Self) -> bool {
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

/// The findings of a look.
pub(crate) struct Findings {
    pub(crate) kept: Vec<Finding>,
    pub(crate) more: u64,
    /// How many to keep.
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

    /// None, with room for as many as there is here.
    pub(crate) fn apart(&self) -> Self {
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

    /// All findings of one that was [`Findings::apart`].
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
