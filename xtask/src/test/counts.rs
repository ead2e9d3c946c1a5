//! What a run of tests said about itself, counted.

/// Passed and failed, with what to know about each failure.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) passed: u32,
    pub(super) failed: u32,
    pub(super) failures: Vec<Failure>,
    /// Why some steps did not run.
    pub(super) skipped: Vec<String>,
}

/// Why something failed and the command that shows it again.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) reason: String,
    pub(super) reproduce: String,
    /// The first lines that each failed test printed.
    pub(super) said: Vec<String>,
}

impl Tally {
    pub(super) fn pass(&mut self) {
        self.passed += 1;
    }

    /// Counts `failed` failures which one command reproduces.
    pub(super) fn fail(&mut self, failed: u32, reason: String, reproduce: String) {
        self.failed += failed;
        self.failures.push(Failure {
            reason,
            reproduce,
            said: Vec::new(),
        });
    }
}

/// Lines kept of what one failed test printed: its panic's place and message come first.
const KEPT: usize = 12;

/// Counts read off the output of one or more libtest programs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Libtest {
    pub(super) passed: u32,
    pub(super) failed: u32,
    /// The names of the failed tests.
    pub(super) names: Vec<String>,
    /// The first lines that each failed test printed.
    pub(super) said: Vec<String>,
    /// Why the command ran nothing, if it printed that.
    pub(super) skipped: Option<String>,
    /// How many lines may still be kept of the test whose output this is.
    room: usize,
}

impl Libtest {
    pub(super) fn read(&mut self, line: &str) {
        if let Some(result) = line.strip_prefix("test result: ") {
            self.passed += count_before(result, " passed");
            self.failed += count_before(result, " failed");
        } else if let Some(name) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.strip_suffix(" ... FAILED"))
        {
            self.names.push(name.to_owned());
        } else if let Some(why) = line.strip_prefix("skipped: ") {
            self.skipped = Some(why.to_owned());
        } else if line.starts_with("---- ") && line.ends_with(" stdout ----") {
            self.said.push(line.to_owned());
            self.room = KEPT;
        } else if line == "failures:" || line == "stack backtrace:" {
            self.room = 0;
        } else if self.room > 0 && !line.is_empty() {
            self.said.push(line.to_owned());
            self.room -= 1;
        }
    }
}

/// The number that stands before `word`, 0 if there is none.
fn count_before(text: &str, word: &str) -> u32 {
    text.find(word)
        .and_then(|end| text[..end].rsplit(' ').next()?.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(output: &str) -> Libtest {
        let mut counts = Libtest::default();
        output.lines().for_each(|line| counts.read(line));
        counts
    }

    #[test]
    fn several_programs_are_summed() {
        let counts = read(
            "running 2 tests\n\
             test a::b ... ok\n\
             test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
             test ring::wraps ... FAILED\n\
             test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s\n",
        );
        assert_eq!((counts.passed, counts.failed), (15, 1));
        assert_eq!(counts.names, ["ring::wraps"]);
    }

    #[test]
    fn the_first_lines_of_each_failed_test_are_kept() {
        let long = "note\n".repeat(KEPT + 5);
        let counts = read(&format!(
            "before\n\nfailures:\n\n---- a::b stdout ----\n\nthread panicked\nleft\n\
             stack backtrace:\n   0: main\n\n---- c stdout ----\n{long}\n\
             failures:\n    a::b\n    c\n\n\
             test result: FAILED. 0 passed; 2 failed; 0 ignored\n"
        ));
        let mut expected = vec!["---- a::b stdout ----", "thread panicked", "left"];
        expected.push("---- c stdout ----");
        expected.extend(["note"; KEPT]);
        assert_eq!(counts.said, expected);
    }

    #[test]
    fn what_a_test_prints_is_not_counted() {
        assert_eq!(
            read("12 passed\n5 failed\ntest drive\n"),
            Libtest::default()
        );
        assert_eq!(read("test result: none\n"), Libtest::default());
    }
}
