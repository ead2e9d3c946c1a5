//! Compares the API with that of the last release.

use anyhow::Result;

use crate::console::Console;
use crate::invocation::Invocation;
use crate::workspace::{Workspace, libraries};

/// Returns the newest tag `v*`; `None` before the first release.
pub(crate) fn last_release() -> Option<String> {
    let tags = Invocation::parse("git tag --list v* --sort=-version:refname");
    let output = tags.command().output().ok()?;
    first_line(&String::from_utf8_lossy(&output.stdout))
}

fn first_line(tags: &str) -> Option<String> {
    tags.lines().next().map(str::to_owned)
}

pub(super) fn check(workspace: &Workspace, baseline: Option<&str>) -> Result<()> {
    let Some(baseline) = baseline.map(str::to_owned).or_else(last_release) else {
        let why = "skipped: no tag `v*`, so no release to compare the API with";
        Console { to_stderr: false }.line(why);
        return Ok(());
    };
    comparison(&baseline).run_in(&workspace.root)
}

fn comparison(baseline: &str) -> Invocation {
    libraries("cargo semver-checks")
        .arg("--baseline-rev")
        .arg(baseline)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_release_is_the_first_tag_of_the_list() {
        assert_eq!(first_line("v0.10.0\nv0.9.0\n").as_deref(), Some("v0.10.0"));
        assert_eq!(first_line(""), None);
    }

    #[test]
    fn every_library_is_compared() {
        let line = comparison("v0.1.0").to_string();
        assert!(line.starts_with("cargo semver-checks -p shmem-core "));
        assert!(
            line.ends_with("-p shmem-channel --baseline-rev v0.1.0"),
            "{line}"
        );
    }
}
