//! The figures of one goal in one place.

use serde::Serialize;

/// How far apart the two processors are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Place {
    /// Two threads of one core.
    Sibling,
    /// Cores that share a cache.
    Near,
    Far,
}

impl Place {
    pub(crate) const ALL: [Self; 3] = [Self::Sibling, Self::Near, Self::Far];

    /// Returns the place for the round-trip time of two lines, in nanoseconds.
    pub(crate) fn from_time(two_lines: f64) -> Self {
        match two_lines {
            ..85.0 => Self::Sibling,
            85.0..200.0 => Self::Near,
            _ => Self::Far,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sibling => "sibling threads",
            Self::Near => "near",
            Self::Far => "far",
        }
    }
}

/// One goal in one place.
#[derive(Serialize)]
pub(crate) struct Row {
    pub(crate) goal: u32,
    pub(crate) name: &'static str,
    pub(crate) place: Place,
    pub(crate) rounds: usize,
    pub(crate) ours_ns: f64,
    pub(crate) peer: &'static str,
    pub(crate) peer_ns: f64,
    pub(crate) limit_ns: Option<f64>,
    pub(crate) ratio: f64,
    /// Quartiles of the rounds' ratios.
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) target: f64,
    pub(crate) met: bool,
}
