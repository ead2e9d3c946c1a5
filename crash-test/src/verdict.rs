//! The verdict on one operation or one invariant: it holds, or this violation was found.

use std::fmt;

/// Something that must not happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) what: String,
    /// Whether it is an error that reports an eviction: correct for a partition that its peers
    /// presumed gone.
    pub(crate) is_eviction: bool,
}

/// The library errors that report an eviction.
const EVICTIONS: [&str; 7] = [
    "Evicted",
    "NotHeld",
    "Stale",
    "Claimed",
    "EndTaken",
    "Attached",
    "Join(Attached",
];

/// The library errors that report a timeout.
const TIMEOUTS: [&str; 3] = ["TimedOut", "HolderSilent", "PartySilent"];

impl Violation {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            is_eviction: false,
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

/// Returns a violation unless `holds`.
pub(crate) fn ensure(holds: bool, found: impl FnOnce() -> String) -> Outcome {
    match holds {
        true => Ok(()),
        false => Err(Violation::new(found())),
    }
}

/// Whether a library error reports a timeout.
pub(crate) fn is_timeout(error: &impl fmt::Debug) -> bool {
    is_one_of(error, &TIMEOUTS)
}

fn is_one_of(error: &impl fmt::Debug, variants: &[&str]) -> bool {
    let error = format!("{error:?}");
    variants.iter().any(|variant| error.starts_with(variant))
}

/// The violation for an unexpected library error.
pub(crate) fn unexpected(what: &str, error: impl fmt::Display + fmt::Debug) -> Violation {
    Violation {
        what: format!("{what}: {error}"),
        is_eviction: is_one_of(&error, &EVICTIONS),
    }
}

/// Results whose errors are all violations.
pub(crate) trait OrViolation<T> {
    /// The value, or a violation that names the operation.
    fn or_violation(self, what: &str) -> Outcome<T>;
}

impl<T, E: fmt::Display + fmt::Debug> OrViolation<T> for Result<T, E> {
    fn or_violation(self, what: &str) -> Outcome<T> {
        self.map_err(|error| unexpected(what, error))
    }
}
