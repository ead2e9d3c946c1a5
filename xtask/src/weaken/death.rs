//! Why the test program of a model failed, read off what it printed.
//!
//! Only three reasons show that the model notices an ordering: loom saw a race, loom saw a
//! deadlock, or an assertion in the model's own file failed. A panic of the library or of
//! loom's own limits says that something is wrong, but not that the ordering is missed.

use std::collections::BTreeSet;
use std::fmt;

/// The most characters of a message that are shown.
const SHOWN: usize = 160;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Death {
    /// Accesses that nothing orders; with loom's words.
    Race(String),
    Deadlock,
    /// The model's own assertion; with its place and message.
    Assertion(String),
    /// Whatever else; with its place and message.
    Other(String),
}

impl Death {
    /// Why a model of `package` failed that printed these lines: a reason that shows the
    /// missing ordering, if any of its tests has one.
    pub(super) fn read(package: &str, lines: &[String]) -> Self {
        let mut tests = BTreeSet::new();
        let panics = panics(lines).into_iter();
        // What a test's first panic leads to says nothing more.
        let first = panics.filter(|panic| !panic.is_cleanup() && tests.insert(panic.test));
        let mut deaths: Vec<_> = first.map(|panic| panic.death(package)).collect();
        deaths.sort_by_key(|death| !death.is_kill());
        let crash = || Self::Other("it ended without a panic".to_owned());
        deaths.into_iter().next().unwrap_or_else(crash)
    }

    /// Whether this shows that the model notices the ordering.
    pub(super) fn is_kill(&self) -> bool {
        !matches!(self, Self::Other(_))
    }
}

impl fmt::Display for Death {
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
    /// The thread's name is the test's.
    test: &'a str,
    /// `FILE:LINE:COLUMN`.
    place: &'a str,
    message: String,
}

impl Panic<'_> {
    fn death(&self, package: &str) -> Death {
        let Self { place, message, .. } = self;
        if place.contains("/loom-") {
            if let Some((_, race)) = message.split_once("Causality violation: ") {
                return Death::Race(race.to_owned());
            }
            return match message {
                deadlock if deadlock.starts_with("deadlock; ") => Death::Deadlock,
                message => Death::Other(format!("loom gave up: {message}")),
            };
        }
        let place = place.rsplit_once(':').map_or(*place, |(line, _)| line);
        if place.starts_with(&format!("{package}/tests/")) {
            Death::Assertion(format!("{place}: {message}"))
        } else {
            Death::Other(format!("panic in {place}: {message}"))
        }
    }

    /// Whether it only says that another one cannot be unwound.
    fn is_cleanup(&self) -> bool {
        self.message.starts_with("panic in a ")
    }
}

/// Every panic that is reported in `lines`.
fn panics(lines: &[String]) -> Vec<Panic<'_>> {
    let mut panics = Vec::new();
    for (line, rest) in lines.iter().zip(1..) {
        if let Some((test, said)) = line
            .strip_prefix("thread '")
            .and_then(|l| l.split_once('\''))
            && let Some((_, place)) = said.split_once("panicked at ")
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

/// The message at the beginning of `lines`, as one line.
fn message(lines: &[String]) -> String {
    let ends =
        |line: &str| line.is_empty() || line == "stack backtrace:" || line.starts_with("note: ");
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

    fn read(output: &str) -> Death {
        let output = output.replace("LOOM", LOOM);
        let lines: Vec<_> = output.lines().map(str::to_owned).collect();
        Death::read("shmem-core", &lines)
    }

    #[test]
    fn a_race_is_a_kill() {
        let death = read(
            "---- a_record_is_whole_when_it_is_seen stdout ----\n\n\
             thread 'a_record_is_whole_when_it_is_seen' (13568) panicked at LOOM/location.rs:115:9:\n\
             Causality violation: Concurrent read and write accesses.\n\n\
             stack backtrace:\n   0: __rustc::rust_begin_unwind\n",
        );
        assert!(death.is_kill());
        let shown = "race: Concurrent read and write accesses.";
        assert_eq!(death.to_string(), shown);
    }

    #[test]
    fn a_deadlock_is_a_kill() {
        let death = read(
            "thread 'sleeps' (13956) panicked at LOOM/execution.rs:216:13:\n\
             deadlock; threads = [(Id(0), Blocked(Location(None))), (Id(1), Terminated)]\n\
             stack backtrace:\n   0: __rustc::rust_begin_unwind\n",
        );
        assert_eq!(death, Death::Deadlock);
        assert!(death.is_kill());
    }

    #[test]
    fn an_assertion_of_the_model_is_a_kill() {
        let death = read(
            "thread 'compares' (15157) panicked at shmem-core/tests/loom_zz.rs:21:9:\n\
             assertion `left == right` failed: two words differ\n  left: 1\n right: 2\n\
             note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n\n\
             failures:\n    compares\n",
        );
        assert!(death.is_kill());
        let shown = "assertion: shmem-core/tests/loom_zz.rs:21: assertion `left == right` \
                     failed: two words differ left: 1 right: 2";
        assert_eq!(death.to_string(), shown);
    }

    #[test]
    fn a_panic_of_the_library_is_no_kill() {
        let death = read(
            "thread 'wraps' panicked at shmem-core/src/ring/consumer.rs:371:24:\n\
             index out of bounds: the len is 8 but the index is 9\n\n",
        );
        assert!(!death.is_kill());
        let shown = "panic in shmem-core/src/ring/consumer.rs:371: \
                     index out of bounds: the len is 8 but the index is 9";
        assert_eq!(death.to_string(), shown);
    }

    #[test]
    fn a_limit_of_loom_is_no_kill() {
        let death = read(
            "thread 'spins' (15159) panicked at LOOM/path.rs:247:13:\n\
             Model exceeded maximum number of branches. This is often caused by an algorithm \
             requiring the processor to make progress, e.g. spin locks.\n\n\n",
        );
        assert!(!death.is_kill());
        assert!(
            death
                .to_string()
                .starts_with("loom gave up: Model exceeded")
        );
        let death =
            read("thread 'leaks' (1) panicked at LOOM/arc.rs:179:17:\nArc leaked.\n  Index: 1\n");
        assert_eq!(death.to_string(), "loom gave up: Arc leaked. Index: 1");
    }

    #[test]
    fn a_crash_has_the_reason_of_its_first_panic() {
        // The two outputs of the program may arrive in any order.
        let death = read(
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
        assert_eq!(death.to_string(), shown);
        assert!(!read("running 1 test\n(signal: 11, SIGSEGV)\n").is_kill());
    }

    #[test]
    fn one_test_that_notices_is_enough() {
        let death = read(
            "thread 'a' (1) panicked at shmem-core/src/lib.rs:1:1:\nfirst\n\n\
             thread 'b' (2) panicked at LOOM/execution.rs:216:13:\ndeadlock; threads = []\n",
        );
        assert_eq!(death, Death::Deadlock);
    }
}
