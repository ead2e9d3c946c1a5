//! A process with one actor that works until it is killed.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use fastrand::Rng;
use rustix::process::{Signal, getpid, getppid, kill_process, set_parent_process_death_signal};
use shmem_core::Mapping;
use shmem_core::crash::{self, Ended};

use super::arguments::{Arguments, Task};
use super::attachments::Attachments;
use crate::ledger::{Ledger, Slot};
use crate::memory::TestMemory;
use crate::party::Step;
use crate::scenario::Scenario;
use crate::verdict::Outcome;

/// Works until it is killed, or finds a violation. `find` finds a scenario by name.
pub(crate) fn run(
    arguments: &Arguments,
    find: impl Fn(&str) -> Result<&'static Scenario>,
) -> Result<ExitCode> {
    let task = &arguments.task;
    set_parent_process_death_signal(Some(Signal::KILL)).context("cannot die with the harness")?;
    let parent = getppid().map(|parent| parent.as_raw_nonzero().get().unsigned_abs());
    if parent != Some(task.parent) {
        return Ok(ExitCode::FAILURE); // The harness has ended already.
    }
    let memory = io::stdin().as_fd().try_clone_to_owned();
    let memory = Mapping::from_fd(memory.context("no memory as standard input")?)?;
    let scenario = find(&task.scenario)?;
    let layout = (scenario.layout)(task.shape);
    let memory = TestMemory::attach(memory.window(), &layout, task.shape)?;
    let attachments = Attachments::new(memory, task.detection, scenario);
    let mut outcome = Ok(());
    thread::scope(|scope| {
        let _beating = attachments.beat(scope);
        let work = || outcome = work(scenario, memory, &attachments, task);
        if crash::run(task.armed, work) == Ended::Died {
            // Its destructors stored nothing.
            let _ = kill_process(getpid(), Signal::KILL);
        }
    });
    if let Err(violation) = outcome {
        let _ = writeln!(io::stderr(), "{violation}");
    }
    Ok(ExitCode::from(3))
}

fn work<'m>(
    scenario: &'static Scenario,
    memory: TestMemory<'m>,
    attachments: &Attachments<'m>,
    task: &Task,
) -> Outcome {
    let mut rng = Rng::with_seed(task.seed);
    let slot = memory.ledger.slot(task.slot);
    let mut observer = attachments.observer();
    let incarnation = attachments.attach(task.partition, &mut observer)?;
    let scene = scenario.scene(memory, observer);
    let mut actor = scene.join(task.role, incarnation)?;
    slot.ready.set(1);
    loop {
        if memory.ledger.rest().get() != 0 {
            rest(memory.ledger, slot);
        }
        let step = actor.perform_any(&mut rng, |op| slot.set_doing(op))?;
        slot.operations.add(1);
        if step == Step::Idle {
            thread::yield_now();
        }
        attachments.ensure_not_evicted()?;
    }
}

/// Does nothing while all processes must rest.
fn rest(ledger: Ledger<'_>, slot: Slot<'_>) {
    slot.resting.set(1);
    while ledger.rest().get() != 0 {
        thread::sleep(Duration::from_micros(50));
    }
    slot.resting.set(0);
}
