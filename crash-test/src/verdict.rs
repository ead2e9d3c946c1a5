//! The verdict on one operation or one invariant: it holds, or this violation was found.

use std::fmt;

/// Something that was found and must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) what: String,
    /// Whether it is an error by which a partition learns that it was evicted: right for
    /// one that its peers took for gone.
    pub(crate) says_evicted: bool,
}

/// The errors of the libraries that say so.
const EVICTIONS: [&str; 7] = [
    "Evicted",
    "NotHeld",
    "Stale",
    "Claimed",
    "EndTaken",
    "Attached",
    "Join(Attached",
];

/// The errors of the libraries that say that a wait ended without what it was for.
const TIMEOUTS: [&str; 3] = ["TimedOut", "HolderSilent", "PartySilent"];

impl Violation {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            says_evicted: false,
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.what)
    }
}

impl std::error::Error for Violation {}

pub(crate) type Outcome<T = ()> = Result<T, Violation>;

/// A violation, unless `holds`.
pub(crate) fn ensure(holds: bool, found: impl FnOnce() -> String) -> Outcome {
    match holds {
        true => Ok(()),
        false => Err(Violation::new(found())),
    }
}

/// Whether an error of the libraries says that a wait timed out.
pub(crate) fn is_timeout(error: &impl fmt::Debug) -> bool {
    is_one_of(error, &TIMEOUTS)
}

fn is_one_of(error: &impl fmt::Debug, variants: &[&str]) -> bool {
    let error = format!("{error:?}");
    variants.iter().any(|variant| error.starts_with(variant))
}

/// An error of the libraries where none may be.
pub(crate) fn unexpected(what: &str, error: impl fmt::Display + fmt::Debug) -> Violation {
    Violation {
        what: format!("{what}: {error}"),
        says_evicted: is_one_of(&error, &EVICTIONS),
    }
}

/// Results of which every error is a violation.
pub(crate) trait OrViolation<T> {
    /// The value, or a violation that says what was done.
    fn or_violation(self, what: &str) -> Outcome<T>;
}

impl<T, E: fmt::Display + fmt::Debug> OrViolation<T> for Result<T, E> {
    fn or_violation(self, what: &str) -> Outcome<T> {
        self.map_err(|error| unexpected(what, error))
    }
}
