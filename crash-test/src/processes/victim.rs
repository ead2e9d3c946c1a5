//! A process that works until it is killed.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::thread;

use anyhow::{Context, Result};
use fastrand::Rng;
use rustix::process::{Signal, getpid, getppid, kill_process, set_parent_process_death_signal};
use shmem_core::Mapping;
use shmem_core::crash::{self, Ended};

use super::Liveness;
use super::heart::Heart;
use crate::scenario::{Outcome, Scenario, Step, ensure};
use crate::stage::Stage;
use crate::{sabotage, scenarios, select};

/// The name of the hidden command.
pub(crate) const COMMAND: &str = "victim";

/// Word of the ledger's session: all are to rest.
pub(super) const REST: usize = 0;

/// Words of a slot of the ledger.
pub(super) const READY: usize = 0;
pub(super) const OPS: usize = 1;
/// The operation that is under way, from 1; 0 is none yet.
pub(super) const DOING: usize = 2;
pub(super) const RESTING: usize = 3;

/// Work on the memory behind standard input until killed.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[arg(long)]
    pub(super) scenario: String,
    #[arg(long)]
    pub(super) shape: u32,
    #[arg(long)]
    pub(super) slot: usize,
    #[arg(long)]
    pub(super) role: usize,
    #[arg(long)]
    pub(super) partition: u8,
    #[arg(long)]
    pub(super) seed: u64,
    #[arg(long)]
    pub(super) liveness: Liveness,
    /// Whose victim it is
    #[arg(long)]
    pub(super) parent: u32,
    /// Die at this store
    #[arg(long)]
    pub(super) armed: Option<u64>,
}

impl Arguments {
    /// The words of the command line.
    pub(super) fn words(&self) -> Vec<String> {
        let liveness = match self.liveness {
            Liveness::Pidfd => "pidfd",
            Liveness::Heartbeat => "heartbeat",
        };
        let mut words = vec![
            format!("--scenario={}", self.scenario),
            format!("--shape={}", self.shape),
            format!("--slot={}", self.slot),
            format!("--role={}", self.role),
            format!("--partition={}", self.partition),
            format!("--seed={}", self.seed),
            format!("--liveness={liveness}"),
            format!("--parent={}", self.parent),
        ];
        words.extend(self.armed.map(|at| format!("--armed={at}")));
        words
    }
}

/// Works until it is killed, or finds a violation.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    set_parent_process_death_signal(Some(Signal::KILL)).context("cannot die with the harness")?;
    let parent = getppid().map(|parent| parent.as_raw_nonzero().get().unsigned_abs());
    if parent != Some(arguments.parent) {
        return Ok(ExitCode::FAILURE); // It is gone already.
    }
    let memory = io::stdin().as_fd().try_clone_to_owned();
    let memory = Mapping::from_fd(memory.context("no memory behind standard input")?)?;
    let everything = scenarios::all()
        .into_iter()
        .chain(sabotage::all().map(|wrong| wrong as &dyn Scenario))
        .collect();
    let scenario = select(everything, std::slice::from_ref(&arguments.scenario))?[0];
    let stage = Stage::attach(memory.window(), scenario, arguments.shape)?;
    let heart = Heart::new(stage, arguments.liveness, scenario);
    let mut outcome = Ok(());
    thread::scope(|scope| {
        let _beating = heart.beat(scope);
        let life = || outcome = live(scenario, &stage, &heart, arguments);
        if crash::run(arguments.armed, life) == Ended::Died {
            // Its destructors stored nothing.
            let _ = kill_process(getpid(), Signal::KILL);
        }
    });
    if let Err(violation) = outcome {
        let _ = writeln!(io::stderr(), "{violation}");
    }
    Ok(ExitCode::from(3))
}

fn live<'m>(
    scenario: &dyn Scenario,
    stage: &Stage<'m>,
    heart: &Heart<'m>,
    arguments: &Arguments,
) -> Outcome {
    let mut rng = Rng::with_seed(arguments.seed);
    let slot = |word| stage.ledger.slot(arguments.slot, word);
    let mut deaths = heart.deaths();
    let life = heart.attach(arguments.partition, &mut deaths)?;
    let mut actor = scenario.join(stage, arguments.role, life, deaths)?;
    slot(READY).set(1);
    let ops = scenario.roles()[arguments.role].ops.len();
    loop {
        if stage.ledger.session(REST).get() != 0 {
            rest(stage, arguments.slot);
        }
        let op = rng.usize(..ops);
        slot(DOING).set(op as u32 + 1);
        let step = actor.act(op, &mut rng)?;
        slot(OPS).add(1);
        if step == Step::Idle {
            thread::yield_now();
        }
        ensure(!heart.is_robbed(), || {
            "another took the place of a life that is not over".to_owned()
        })?;
    }
}

/// Does nothing for as long as all are to rest.
fn rest(stage: &Stage<'_>, slot: usize) {
    let resting = stage.ledger.slot(slot, RESTING);
    resting.set(1);
    while stage.ledger.session(REST).get() != 0 {
        thread::sleep(std::time::Duration::from_micros(50));
    }
    resting.set(0);
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    #[test]
    fn a_victim_reads_what_the_harness_wrote() {
        for (liveness, armed) in [(Liveness::Pidfd, None), (Liveness::Heartbeat, Some(77))] {
            let written = Arguments {
                scenario: "mutex".to_owned(),
                shape: 1,
                slot: 2,
                role: 3,
                partition: 4,
                seed: u64::MAX,
                liveness,
                parent: 5,
                armed,
            };
            let words = std::iter::once(COMMAND.to_owned()).chain(written.words());
            let read = Line::try_parse_from(words).unwrap().arguments;
            assert_eq!(read.words(), written.words());
            assert_eq!((read.seed, read.armed), (u64::MAX, armed));
        }
    }
}
