//! The list of weakenings: each ordering of the protocol crates with its model.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use walkdir::WalkDir;

use super::edit::{self, Edit};
use super::marks::{self, Mark};
use super::sites::{self, Site, Strength};
use crate::workspace::LIBRARIES;

/// One weakening and the model that must notice it.
#[derive(Clone, Debug)]
pub(super) struct Case {
    /// The source file, relative to the workspace.
    pub(super) file: PathBuf,
    pub(super) line: usize,
    /// The text to which `edit` applies, even if the file changes meanwhile.
    pub(super) source: Arc<str>,
    pub(super) edit: Edit,
    pub(super) model: Model,
}

/// A loom model: a test, or a file of them, of one package.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Model {
    pub(super) package: String,
    pub(super) file: String,
    pub(super) test: Option<String>,
}

/// An ordering without a case, and the reason.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Remark {
    pub(super) place: String,
    pub(super) text: String,
}

#[derive(Debug, Default)]
pub(super) struct Survey {
    pub(super) cases: Vec<Case>,
    pub(super) exempt: Vec<Remark>,
    pub(super) problems: Vec<Remark>,
    /// Relaxed accesses with a reason.
    pub(super) relaxed: Vec<Remark>,
    /// Relaxed accesses without a reason.
    pub(super) unexplained: Vec<Remark>,
}

impl Survey {
    /// Reads the sources of every library crate.
    pub(super) fn take(root: &Path) -> Result<Self> {
        let mut survey = Self::default();
        for package in LIBRARIES {
            let sources = WalkDir::new(root.join(package).join("src")).sort_by_file_name();
            for entry in sources {
                let entry = entry.context("cannot list the sources")?;
                let path = entry.path();
                let is_source = path.extension().is_some_and(|ending| ending == "rs");
                // `tests.rs` files hold the unit tests of their module.
                if is_source && !path.ends_with("tests.rs") {
                    let text = fs::read_to_string(path)
                        .with_context(|| format!("cannot read {}", path.display()))?;
                    let file = path.strip_prefix(root).unwrap_or(path);
                    survey.read(root, package, file, &text)?;
                }
            }
        }
        Ok(survey)
    }

    fn read(&mut self, root: &Path, package: &str, file: &Path, text: &str) -> Result<()> {
        let source: Arc<str> = text.into();
        let lines: Vec<_> = text.lines().collect();
        let sites = sites::find(text).with_context(|| file.display().to_string())?;
        let (relaxed, sites): (Vec<_>, Vec<_>) = sites
            .into_iter()
            .partition(|site| site.strength == Strength::Relaxed);
        self.read_relaxed(file, &lines, &relaxed);
        let mut unused: Vec<_> = marks::models(&lines).collect();
        for site in &sites {
            let place = format!("{}:{}", file.display(), site.line);
            let marked = marks::mark_line(&lines, site);
            unused.retain(|&line| Some(line) != marked);
            match find_model(root, package, site, marked.map(|line| lines[line - 1])) {
                Ok(Marked::Model(model)) => {
                    let case = |edit| Case {
                        file: file.to_owned(),
                        line: site.line,
                        source: Arc::clone(&source),
                        edit,
                        model: model.clone(),
                    };
                    self.cases.extend(edit::weaker(site).into_iter().map(case));
                }
                Ok(Marked::Exempt(text)) => self.exempt.push(Remark { place, text }),
                Err(text) => self.problems.push(Remark { place, text }),
            }
        }
        self.problems.extend(unused.into_iter().map(|line| Remark {
            place: format!("{}:{line}", file.display()),
            text: "this mark has no ordering".to_owned(),
        }));
        Ok(())
    }

    fn read_relaxed(&mut self, file: &Path, lines: &[&str], sites: &[Site]) {
        let remark = |line: usize, text: &str| Remark {
            place: format!("{}:{line}", file.display()),
            text: text.to_owned(),
        };
        let mut unused: Vec<_> = marks::reasons(lines).collect();
        for site in sites {
            let marked = marks::reason_line(lines, site);
            unused.retain(|&line| Some(line) != marked);
            match marked.map(|line| lines[line - 1]) {
                Some(mark) if marks::has_reason(mark) => {
                    self.relaxed.push(remark(site.line, mark.trim()));
                }
                Some(_) => self
                    .unexplained
                    .push(remark(site.line, "the reason is empty")),
                None => {
                    let text =
                        "no `// relaxed:` mark gives the reason why this access needs no ordering";
                    self.unexplained.push(remark(site.line, text));
                }
            }
        }
        let text = "this mark has no relaxed access";
        let unused = unused.into_iter().map(|line| remark(line, text));
        self.unexplained.extend(unused);
    }
}

enum Marked {
    Model(Model),
    Exempt(String),
}

/// Finds the model of `site`, whose mark is the line `marked`, or its exemption.
fn find_model(
    root: &Path,
    package: &str,
    site: &Site,
    marked: Option<&str>,
) -> Result<Marked, String> {
    let mark = marked.ok_or("no `// loom:` mark names the model of this ordering")?;
    let (file, test) = match marks::parse(mark).map_err(|error| error.to_string())? {
        Mark::None { reason } => return Ok(Marked::Exempt(reason)),
        Mark::Model { file, test } => (file, test),
    };
    if site.fence.is_none() && site.strength == Strength::SeqCst {
        return Err("the project does not use SeqCst accesses".to_owned());
    }
    // The crate's own models first, then those of the other crates.
    let package = [package]
        .into_iter()
        .chain(LIBRARIES)
        .find(|package| {
            let tests = root.join(package).join("tests");
            tests.join(&file).with_extension("rs").is_file()
        })
        .ok_or_else(|| format!("tests/{file}.rs does not exist"))?;
    Ok(Marked::Model(Model {
        package: package.to_owned(),
        file,
        test,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn survey(source: &str) -> Survey {
        let root = tempfile::tempdir().unwrap();
        let tests = root.path().join("shmem-core").join("tests");
        fs::create_dir_all(&tests).unwrap();
        fs::write(tests.join("loom_ring.rs"), "").unwrap();
        let mut survey = Survey::default();
        let file = Path::new("shmem-registry/src/table.rs");
        survey
            .read(root.path(), "shmem-registry", file, source)
            .unwrap();
        survey
    }

    #[test]
    fn a_model_in_a_lower_crate_is_found() {
        let survey = survey("fn f(a: &A) {\na.store(1, Release); // loom: loom_ring::wraps\n}");
        let case = &survey.cases[0];
        assert_eq!((case.line, survey.problems.len()), (2, 0));
        assert_eq!(case.model.package, "shmem-core");
        assert_eq!(case.model.test.as_deref(), Some("wraps"));
    }

    #[test]
    fn an_ordering_without_a_model_is_a_problem_unless_it_is_exempt() {
        let survey = survey(
            "fn f(a: &A) {\n\
             a.store(1, Release);\n\
             a.store(1, Release); // loom: loom_nothing\n\
             a.store(1, SeqCst); // loom: loom_ring\n\
             a.store(1, Release); // loom: none (a debugging aid)\n\
             a.store(1, Relaxed); // loom: loom_ring\n}",
        );
        let places: Vec<_> = survey
            .problems
            .iter()
            .map(|problem| problem.place.rsplit(':').next().unwrap())
            .collect();
        assert_eq!(places, ["2", "3", "4", "6"]);
        assert_eq!(survey.exempt[0].text, "a debugging aid");
        assert!(survey.cases.is_empty());
    }

    #[test]
    fn a_relaxed_access_without_a_reason_is_found() {
        let survey = survey(
            "fn f(a: &A) {\n\
             a.load(Relaxed); // relaxed: only we store it\n\
             a.load(Ordering::Relaxed);\n\
             // relaxed:\n\
             a.load(Relaxed);\n\
             // relaxed: of nothing\n\
             a.clear();\n\
             }\n\
             #[cfg(test)] mod tests { fn f(a: &A) { a.load(Relaxed); } }",
        );
        let places: Vec<_> = survey
            .unexplained
            .iter()
            .map(|remark| remark.place.rsplit(':').next().unwrap())
            .collect();
        assert_eq!(places, ["3", "5", "6"]);
        assert_eq!(survey.relaxed.len(), 1);
        assert!(survey.problems.is_empty() && survey.cases.is_empty());
    }
}
