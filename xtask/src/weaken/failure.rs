//! Finds in the output of a model's test program why it failed.
//!
//! Only three reasons show that the model notices an ordering: loom saw a race, loom saw a
//! deadlock, or an assertion in the model's own file failed. Any other panic, in the library
//! or at a limit of loom, shows an error, but not that the ordering is missed.

use std::collections::BTreeSet;
use std::fmt;

/// The largest number of characters of a message to show.
const SHOWN: usize = 160;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Unordered accesses; with loom's words.
    Race(String),
    Deadlock,
    /// The model's own assertion; with its place and message.
    Assertion(String),
    /// Any other failure; with its place and message.
    Other(String),
}

impl Failure {
    /// Returns why a model of `package` failed that printed these lines. Prefers a reason that
    /// shows the missing ordering, if any of its tests has one.
    pub(super) fn read(package: &str, lines: &[String]) -> Self {
        let mut tests = BTreeSet::new();
        let panics = panics(lines).into_iter();
        // Later panics of a test only follow from its first one.
        let first = panics.filter(|panic| !panic.is_cleanup() && tests.insert(panic.test));
        let mut failures: Vec<_> = first.map(|panic| panic.failure(package)).collect();
        failures.sort_by_key(|failure| !failure.is_kill());
        let crash = || Self::Other("it ended without a panic".to_owned());
        failures.into_iter().next().unwrap_or_else(crash)
    }

    /// Returns true if this shows that the model notices the ordering.
    pub(super) fn is_kill(&self) -> bool {
        !matches!(self, Self::Other(_))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Race(text) => write!(out, "race: {text}"),
            Self::Deadlock => write!(out, "deadlock"),
            Self::Assertion(text) => write!(out, "assertion: {text}"),
            Self::Other(text) => write!(out, "{text}"),
        }
    }
}

struct Panic<'a> {
    /// The name of the thread, which is that of the test.
    test: &'a str,
    /// `FILE:LINE:COLUMN`.
    place: &'a str,
    message: String,
}

impl Panic<'_> {
    fn failure(&self, package: &str) -> Failure {
        let Self { place, message, .. } = self;
        if place.contains("/loom-") {
            if let Some((_, race)) = message.split_once("Causality violation: ") {
                return Failure::Race(race.to_owned());
            }
            return match message {
                deadlock if deadlock.starts_with("deadlock; ") => Failure::Deadlock,
                message => Failure::Other(format!("loom gave up: {message}")),
            };
        }
        let place = place.rsplit_once(':').map_or(*place, |(line, _)| line);
        if place.starts_with(&format!("{package}/tests/")) {
            Failure::Assertion(format!("{place}: {message}"))
        } else {
            Failure::Other(format!("panic in {place}: {message}"))
        }
    }

    /// Returns true if it only reports that another panic cannot be unwound.
    fn is_cleanup(&self) -> bool {
        self.message.starts_with("panic in a ")
    }
}

/// Returns every panic that `lines` report.
fn panics(lines: &[String]) -> Vec<Panic<'_>> {
    let mut panics = Vec::new();
    for (line, rest) in lines.iter().zip(1..) {
        if let Some((test, rest_of_line)) = line
            .strip_prefix("thread '")
            .and_then(|l| l.split_once('\''))
            && let Some((_, place)) = rest_of_line.split_once("panicked at ")
        {
            panics.push(Panic {
                test,
                place: place.trim_end_matches(':'),
                message: message(&lines[rest..]),
            });
        }
    }
    panics
}

/// Returns the message at the beginning of `lines` as one line.
fn message(lines: &[String]) -> String {
    let ends = |line: &str| {
        let is_next = line.starts_with("thread '") || line.starts_with("note: ");
        is_next || line.is_empty() || line == "stack backtrace:"
    };
    let lines = lines.iter().map(|line| line.trim());
    let lines = lines.skip_while(|line| line.is_empty());
    let words: Vec<_> = lines.take_while(|line| !ends(line)).collect();
    let text = words.join(" ");
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOM: &str = "/c/registry/src/index.crates.io-1949cf8c6b5b557f/loom-0.7.2/src/rt";

    fn read(output: &str) -> Failure {
        let output = output.replace("LOOM", LOOM);
        let lines: Vec<_> = output.lines().map(str::to_owned).collect();
        Failure::read("shmem-core", &lines)
    }

    #[test]
    fn a_race_is_a_kill() {
        let failure = read(
            "---- a_record_is_whole_when_it_is_seen stdout ----\n\n\
             thread 'a_record_is_whole_when_it_is_seen' (13568) panicked at LOOM/location.rs:115:9:\n\
             Causality violation: Concurrent read and write accesses.\n\n\
             stack backtrace:\n   0: __rustc::rust_begin_unwind\n",
        );
        assert!(failure.is_kill());
        let shown = "race: Concurrent read and write accesses.";
        assert_eq!(failure.to_string(), shown);
    }

    #[test]
    fn a_deadlock_is_a_kill() {
        let failure = read(
            "thread 'sleeps' (13956) panicked at LOOM/execution.rs:216:13:\n\
             deadlock; threads = [(Id(0), Blocked(Location(None))), (Id(1), Terminated)]\n\
             stack backtrace:\n   0: __rustc::rust_begin_unwind\n",
        );
        assert_eq!(failure, Failure::Deadlock);
        assert!(failure.is_kill());
    }

    #[test]
    fn an_assertion_of_the_model_is_a_kill() {
        let failure = read(
            "thread 'compares' (15157) panicked at shmem-core/tests/loom_zz.rs:21:9:\n\
             assertion `left == right` failed: two words differ\n  left: 1\n right: 2\n\
             note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n\n\
             failures:\n    compares\n",
        );
        assert!(failure.is_kill());
        let shown = "assertion: shmem-core/tests/loom_zz.rs:21: assertion `left == right` \
                     failed: two words differ left: 1 right: 2";
        assert_eq!(failure.to_string(), shown);
    }

    #[test]
    fn a_panic_of_the_library_is_not_a_kill() {
        let failure = read(
            "thread 'wraps' panicked at shmem-core/src/ring/consumer.rs:371:24:\n\
             index out of bounds: the len is 8 but the index is 9\n\n",
        );
        assert!(!failure.is_kill());
        let shown = "panic in shmem-core/src/ring/consumer.rs:371: \
                     index out of bounds: the len is 8 but the index is 9";
        assert_eq!(failure.to_string(), shown);
    }

    #[test]
    fn a_limit_of_loom_is_not_a_kill() {
        let failure = read(
            "thread 'spins' (15159) panicked at LOOM/path.rs:247:13:\n\
             Model exceeded maximum number of branches. This is often caused by an algorithm \
             requiring the processor to make progress, e.g. spin locks.\n\n\n",
        );
        assert!(!failure.is_kill());
        assert!(
            failure
                .to_string()
                .starts_with("loom gave up: Model exceeded")
        );
        let failure =
            read("thread 'leaks' (1) panicked at LOOM/arc.rs:179:17:\nArc leaked.\n  Index: 1\n");
        assert_eq!(failure.to_string(), "loom gave up: Arc leaked. Index: 1");
    }

    #[test]
    fn a_crash_is_explained_by_its_first_panic() {
        // The two outputs of the program may arrive in either order.
        let failure = read(
            "running 1 test\n\
             thread 'dies_twice' (15227) panicked at /rustc/59/library/core/src/panicking.rs:233:5:\n\
             panic in a destructor during cleanup\n\
             thread caused non-unwinding panic. aborting.\n\n\
             thread 'dies_twice' (15227) panicked at shmem-core/src/lib.rs:9:11:\n\
             called `Result::unwrap()` on an `Err` value: 3\n\
             note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n\n\
             thread 'dies_twice' (15227) panicked at shmem-core/tests/loom_zy.rs:3:40:\n\
             second\nstack backtrace:\n",
        );
        let shown =
            "panic in shmem-core/src/lib.rs:9: called `Result::unwrap()` on an `Err` value: 3";
        assert_eq!(failure.to_string(), shown);
        assert!(!read("running 1 test\n(signal: 11, SIGSEGV)\n").is_kill());
    }

    #[test]
    fn one_test_that_notices_the_ordering_is_enough() {
        let failure = read(
            "thread 'a' (1) panicked at shmem-core/src/lib.rs:1:1:\nfirst\n\n\
             thread 'b' (2) panicked at LOOM/execution.rs:216:13:\ndeadlock; threads = []\n",
        );
        assert_eq!(failure, Failure::Deadlock);
    }
}
