//! Limits how often messages are printed: some at once, then one a second.

use std::time::Instant;

/// Messages that may be printed at once.
const BURST: f64 = 10.0;

/// An allowance of [`BURST`] messages, which grows by one a second.
#[derive(Debug)]
pub(crate) struct Allowance {
    left: f64,
    since: Instant,
}

impl Default for Allowance {
    fn default() -> Self {
        Self {
            left: BURST,
            since: Instant::now(),
        }
    }
}

impl Allowance {
    /// Takes one message from the allowance. Returns false if none is left.
    pub(crate) fn take(&mut self) -> bool {
        let earned = self.since.elapsed().as_secs_f64();
        self.since = Instant::now();
        self.left = (self.left + earned).min(BURST);
        let may = self.left >= 1.0;
        self.left -= f64::from(u8::from(may));
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_thousand_messages_at_once_about_ten_are_allowed() {
        let mut allowance = Allowance::default();
        let taken = (0..1000).filter(|_| allowance.take()).count();
        assert!((10..20).contains(&taken), "{taken}");
    }
}
