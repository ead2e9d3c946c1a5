//! Tries the weakenings, several at a time, each in a separate copy.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use super::failure::Failure;
use super::model::{self, Found};
use super::scratch::Scratch;
use super::survey::{Case, Model, Remark, Survey};
use crate::console::Console;
use crate::interrupt;
use crate::workspace::Workspace;

/// Time limit for building the models' dependencies.
const BUILD_LIMIT: Duration = Duration::from_secs(600);
/// Time limit of a model; longer ones are of no use here.
const MODEL_LIMIT: Duration = Duration::from_secs(300);

/// The result for one ordering.
pub(crate) struct Verdict {
    /// `FILE:LINE`.
    place: String,
    /// The weakening and its model; empty if there are none.
    what: String,
    answer: Answer,
}

enum Answer {
    Killed(Duration, Failure),
    Survived,
    /// The model failed, but not for a reason that shows the missing ordering.
    NoKill(Failure),
    /// It was not possible to try it.
    Problem(String),
}

impl Verdict {
    pub(crate) fn killed(&self) -> bool {
        matches!(self.answer, Answer::Killed(..))
    }

    /// The command that tries this ordering again.
    pub(crate) fn reproduce(&self) -> String {
        format!("cargo xtask weaken {}", self.place)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.place)?;
        if !self.what.is_empty() {
            write!(out, "  {}", self.what)?;
        }
        match &self.answer {
            Answer::Killed(time, failure) => {
                write!(out, "  killed in {:.1} s: {failure}", time.as_secs_f64())
            }
            Answer::Survived => write!(out, "  SURVIVED"),
            Answer::NoKill(failure) => write!(out, "  NOT A KILL: {failure}"),
            Answer::Problem(text) => write!(out, "  PROBLEM: {text}"),
        }
    }
}

impl Case {
    pub(super) fn place(&self) -> String {
        format!("{}:{}", self.file.display(), self.line)
    }

    fn what(&self) -> String {
        format!("{}  {}", self.edit.name, self.model)
    }
}

pub(super) struct Plan<'a> {
    pub(super) workspace: &'a Workspace,
    /// The `PATH` of the models, if that is not the caller's.
    pub(super) path: Option<&'a str>,
    pub(super) jobs: usize,
    /// The time limit of the whole run.
    pub(super) limit: Duration,
    pub(super) console: Console,
}

impl Plan<'_> {
    pub(super) fn run(&self, survey: Survey) -> Result<Vec<Verdict>> {
        let problem = |remark: Remark| Verdict {
            place: remark.place,
            what: String::new(),
            answer: Answer::Problem(remark.text),
        };
        let mut verdicts: Vec<_> = survey.problems.into_iter().map(problem).collect();
        for verdict in &verdicts {
            self.console.line(&verdict.to_string());
        }
        let models: BTreeSet<_> = survey.cases.iter().map(|case| case.model.clone()).collect();
        let deadline = Instant::now().checked_add(self.limit);
        let scratches = self.scratches(survey.cases.len())?;
        self.prepare(&scratches, &models)?;
        let models: Vec<_> = models.into_iter().collect();
        let sound = spread(&scratches, models, |scratch, model| {
            let sound = passes(scratch, &model);
            (model, sound)
        });
        let sound: BTreeMap<Model, Result<()>> = sound.into_iter().collect();
        verdicts.extend(spread(&scratches, survey.cases, |scratch, case| {
            let late = deadline.is_some_and(|deadline| Instant::now() > deadline);
            let verdict = try_case(scratch, &case, &sound, late);
            self.console.line(&verdict.to_string());
            verdict
        }));
        Ok(verdicts)
    }

    fn prepare(&self, scratches: &[Scratch], models: &BTreeSet<Model>) -> Result<()> {
        if scratches.is_empty() {
            return Ok(());
        }
        self.console.line("building the models");
        let packages: BTreeSet<_> = models.iter().map(|model| &*model.package).collect();
        let jobs = scratches.iter().collect();
        spread(scratches, jobs, |_, scratch: &Scratch| {
            model::prepare(scratch, packages.iter().copied(), BUILD_LIMIT)
        })
        .into_iter()
        .collect()
    }

    fn scratches(&self, cases: usize) -> Result<Vec<Scratch>> {
        let Workspace { root, target } = self.workspace;
        (0..self.jobs.min(cases))
            .map(|job| {
                let directory = target.join("weaken").join(job.to_string());
                let mut scratch = Scratch::sync(root, target, directory)?;
                scratch.path = self.path.map(str::to_owned);
                Ok(scratch)
            })
            .collect()
    }
}

/// Returns an error unless `model` passes while nothing is weakened.
fn passes(scratch: &Scratch, model: &Model) -> Result<()> {
    match model.run(scratch, MODEL_LIMIT)? {
        Found::Nothing => Ok(()),
        Found::Fault(failure) => Err(anyhow!("the model fails already: {failure}")),
        Found::NoEnd => Err(anyhow!("the model does not end in time")),
        Found::NotRun(output) => Err(anyhow!("the model does not run:\n{output}")),
    }
}

fn try_case(
    scratch: &Scratch,
    case: &Case,
    sound: &BTreeMap<Model, Result<()>>,
    late: bool,
) -> Verdict {
    let start = Instant::now();
    let tried = match sound.get(&case.model) {
        _ if interrupt::interrupted() => Err(anyhow!("interrupted")),
        Some(Err(error)) => Err(anyhow!("{error:#}")),
        _ if late => Err(anyhow!("no time left")),
        _ => run_weakened(scratch, case),
    };
    let answer = match tried {
        Ok(Found::Fault(failure)) if failure.is_kill() => Answer::Killed(start.elapsed(), failure),
        Ok(Found::Fault(failure)) => Answer::NoKill(failure),
        Ok(Found::Nothing) => Answer::Survived,
        Ok(Found::NoEnd) => Answer::Problem("the model does not end in time".to_owned()),
        Ok(Found::NotRun(output)) => Answer::Problem(format!("it does not compile:\n{output}")),
        Err(error) => Answer::Problem(format!("{error:#}")),
    };
    Verdict {
        place: case.place(),
        what: case.what(),
        answer,
    }
}

fn run_weakened(scratch: &Scratch, case: &Case) -> Result<Found> {
    let weaker = case.edit.apply(&case.source);
    scratch.with_file(&case.file, &weaker, || case.model.run(scratch, MODEL_LIMIT))
}

/// Does `work` on every item, on one thread per scratch copy. Returns the results in the order
/// of the items.
fn spread<T: Send, R: Send>(
    scratches: &[Scratch],
    items: Vec<T>,
    work: impl Fn(&Scratch, T) -> R + Sync,
) -> Vec<R> {
    let queue = Mutex::new(items.into_iter().enumerate());
    let mut results: Vec<(usize, R)> = thread::scope(|scope| {
        let worker = |scratch| {
            let (queue, work) = (&queue, &work);
            scope.spawn(move || {
                let next = || queue.lock().ok()?.next();
                std::iter::from_fn(next)
                    .map(|(index, item)| (index, work(scratch, item)))
                    .collect::<Vec<_>>()
            })
        };
        let workers: Vec<_> = scratches.iter().map(worker).collect();
        let finished = workers.into_iter().filter_map(|worker| worker.join().ok());
        finished.flatten().collect()
    });
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}
