//! `cargo xtask weaken`: checks that a model notices each memory ordering.
//!
//! Every ordering in the protocol crates names the loom model that needs it. This command
//! weakens each ordering separately, in a copy of the workspace. The model must then fail for
//! a reason that shows the ordering. [`marks`] has the syntax, [`edit`] the weaker forms,
//! [`failure`] the reasons.

mod edit;
mod failure;
mod marks;
mod model;
mod scratch;
mod sites;
mod survey;
mod trial;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::console::Console;
use crate::interrupt;
use crate::workspace::Workspace;
use survey::Survey;
use trial::Plan;
pub(crate) use trial::Verdict;

/// Weaken each memory ordering separately; its loom model must fail
///
/// An ordering names its model in a comment: `// loom: FILE`, `// loom:
/// FILE::TEST`, or `// loom: none (reason)`. A model notices a weaker ordering by a race or a
/// deadlock that loom reports, or by an assertion of its own.
///
/// A relaxed access has its reason in a comment: `// relaxed: REASON`, or for a
/// whole function, `impl` block or closure `// relaxed in all of this: REASON`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only the orderings whose FILE:LINE contains this text
    #[arg(value_name = "FILE:LINE")]
    filters: Vec<String>,
    /// List the orderings and their models, and run nothing
    #[arg(long)]
    list: bool,
    /// List orderings and relaxed accesses without a mark, and run nothing
    #[arg(long, conflicts_with = "list")]
    check_marks: bool,
    /// How many models to run at once [default: one per processor, at most 4]
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    let mut survey = Survey::take(&workspace.root)?;
    if !arguments.filters.is_empty() {
        let wanted = |place: &str| arguments.filters.iter().any(|part| place.contains(part));
        survey.cases.retain(|case| wanted(&case.place()));
        survey.exempt.retain(|remark| wanted(&remark.place));
        survey.problems.retain(|remark| wanted(&remark.place));
        survey.relaxed.retain(|remark| wanted(&remark.place));
        survey.unexplained.retain(|remark| wanted(&remark.place));
    }
    let console = Console { to_stderr: false };
    if arguments.list {
        list(&survey, console);
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.check_marks {
        return Ok(check_marks(&survey, console));
    }
    interrupt::catch()?;
    let plan = Plan {
        workspace: &workspace,
        path: None,
        jobs: arguments.jobs.unwrap_or_else(default_jobs).max(1),
        limit: Duration::MAX,
        console,
    };
    let verdicts = plan.run(survey)?;
    ensure!(!verdicts.is_empty(), "no such ordering");
    let killed = verdicts.iter().filter(|verdict| verdict.killed()).count();
    let left = verdicts.len() - killed;
    console.line(&format!("\n{killed} killed, {left} not"));
    Ok(if interrupt::interrupted() {
        ExitCode::from(130)
    } else if left > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Tries every ordering, for at most `limit`, with this `PATH` if it is given.
pub(crate) fn run_all(
    workspace: &Workspace,
    path: Option<&str>,
    limit: Duration,
    console: Console,
) -> Result<Vec<Verdict>> {
    let plan = Plan {
        workspace,
        path,
        jobs: default_jobs(),
        limit,
        console,
    };
    plan.run(Survey::take(&workspace.root)?)
}

/// Few jobs, since each one builds the models' dependencies itself.
fn default_jobs() -> usize {
    std::thread::available_parallelism().map_or(1, |count| count.get().min(4))
}

fn list(survey: &Survey, console: Console) {
    let line = |place: &str, text: &str| console.line(&format!("{place}  {text}"));
    for case in &survey.cases {
        line(
            &case.place(),
            &format!("{}  {}", case.edit.name, case.model),
        );
    }
    for remark in &survey.exempt {
        line(&remark.place, &format!("none ({})", remark.text));
    }
    for remark in &survey.problems {
        line(&remark.place, &format!("PROBLEM: {}", remark.text));
    }
    console.line(&counts(survey));
}

/// Prints each missing or misplaced mark.
fn check_marks(survey: &Survey, console: Console) -> ExitCode {
    let missing = || survey.problems.iter().chain(&survey.unexplained);
    for remark in missing() {
        console.line(&format!("{}  {}", remark.place, remark.text));
    }
    console.line(&counts(survey));
    match missing().count() {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn counts(survey: &Survey) -> String {
    format!(
        "{} weakenings, {} orderings exempt, {} with a problem; \
         {} relaxed accesses with a reason, {} without",
        survey.cases.len(),
        survey.exempt.len(),
        survey.problems.len(),
        survey.relaxed.len(),
        survey.unexplained.len()
    )
}
