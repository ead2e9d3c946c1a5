//! `shmem-contend`: several kernels contend for the locks of one region, and each counts.
//!
//! One party prepares a region. Then each attaches with a partition number of its own and
//! works under a lock, holds it, or sends and receives over a ring. Under a lock it counts
//! with plain loads and stores, so that two parties inside at once, or a lost store, show in
//! the numbers.
//!
//! | module   | one purpose                                              |
//! |----------|----------------------------------------------------------|
//! | `cli`    | the command line                                         |
//! | `area`   | the named segments of the region                         |
//! | `party`  | a partition that is attached, beats, and watches others  |
//! | `ledger` | the counters that a lock protects                        |
//! | `notes`  | words outside the locks, each with one writer            |
//! | `held`   | guards of the locks that protect the counters            |
//! | `work`   | many short rounds under a lock                           |
//! | `hold`   | one long round                                           |
//! | `ring`   | numbered records in one direction                        |
//! | `handles`| locks to which a party has one handle                    |
//! | `trial`  | a test that the memory is suitable for a lock            |
//! | `show`   | the current content of the region                        |
//! | `report` | events, as text or JSON, and exit statuses               |

#![deny(unsafe_code)]

mod area;
mod cli;
#[allow(unsafe_code)] // The caller of `attach` promises that there is one handle.
mod handles;
mod held;
mod hold;
mod ledger;
mod notes;
mod party;
mod report;
mod ring;
mod show;
mod shown;
mod stop;
mod trial;
mod work;

use std::process::ExitCode;

use anyhow::{Context, Result};
use shmem_core::{Mapping, Region};
use shmem_registry::{Process, Registry};

use crate::area::Area;
use crate::cli::{Args, Command};
use crate::report::{Event, Report};
use crate::stop::exit_code;

fn main() -> ExitCode {
    let args = Args::read();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let code = exit_code(&error);
            Report::new(args.json).failed(&format!("{error:#}"), code);
            ExitCode::from(code)
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let report = Report::new(args.json);
    let mapping = args.region.open().context("cannot use the region")?;
    if let Command::Prepare { permits, again } = args.command {
        area::prepare(&mapping, permits, again)?;
        report.say(&Event::Prepared { permits });
        return Ok(());
    }
    let registry = attach(&mapping).with_context(|| format!("cannot use {}", args.region))?;
    let area = Area::new(registry);
    match &args.command {
        Command::Prepare { .. } => Ok(()),
        Command::Work {
            lock,
            amount,
            try_memory,
            party,
        } => party::run_attached(area, party, report, |party| {
            if *try_memory {
                trial::require(party, *lock)?;
            }
            work::run(party, *lock, amount)
        }),
        Command::Hold { locks, party } => {
            party::run_attached(area, party, report, |party| hold::run(party, locks))
        }
        Command::Send { to, records, party } => party::run_attached(area, party, report, |party| {
            ring::send(party, *to, *records)
        }),
        Command::Receive {
            from,
            records,
            party,
        } => party::run_attached(area, party, report, |party| {
            ring::receive(party, *from, *records)
        }),
        Command::Answer { partition, timeout } => trial::answer(area, report, *partition, *timeout),
        Command::Release { partition } => area.open_notes()?.release(*partition),
        Command::Gone { partition } => gone(area, *partition),
        Command::Show => show::run(area, report),
    }
}

fn attach(mapping: &Mapping) -> Result<Registry<'_>> {
    let region = Region::attach(mapping.window())
        .context("not prepared: run `shmem-contend --region PLACE prepare` first")?;
    Ok(Registry::attach(region)?)
}

/// Declares the attached incarnation of `partition` gone: attaches its next incarnation, which
/// leaves at once. If the declared one is alive after all, it is evicted.
fn gone(area: Area<'_>, partition: u8) -> Result<()> {
    let slot = area.registry().partition(partition)?;
    if let (Some(incarnation), true) = (slot.incarnation, slot.attached) {
        area.registry()
            .attach_after(incarnation, Process::UNKNOWN)?;
    }
    Ok(())
}
