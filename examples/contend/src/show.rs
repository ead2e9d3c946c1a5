//! What is in the region now: the counters, the permits, who is attached.

use anyhow::Result;
use shmem_core::Incarnation;
use shmem_core::doorbell::Silent;
use shmem_sync::Semaphore;

use crate::area::{self, Area, Named};
use crate::cli::PARTIES;
use crate::ledger;
use crate::report::{Event, Report};
use crate::shown::{Attached, Counters, Permits, Shown};

/// Looks as nobody, and changes nothing: a look beside those that work can be a mixture.
pub(crate) fn run(area: Area<'_>, report: Report) -> Result<()> {
    // Nobody locks with it.
    let nobody = Incarnation::first(PARTIES + 1);
    let counters = |segment: Named| -> Result<Counters> {
        let counters = ledger::look(area.open(segment)?);
        Ok(Counters {
            total: ledger::total(&counters),
            by: ledger::by_party(&counters).to_vec(),
        })
    };
    let semaphore = Semaphore::attach(area.open(area::semaphore())?, nobody, &Silent)?;
    let parties = (1..=PARTIES).filter_map(|party| {
        let slot = area.registry().partition(party).ok()?;
        let incarnation = short(slot.incarnation?);
        let attached = slot.attached;
        Some(Attached {
            incarnation,
            attached,
        })
    });
    report.say(&Event::Shown(Shown {
        mutex: counters(area::mutex())?,
        rwlock: counters(area::rwlock())?,
        bakery: counters(area::bakery())?,
        semaphore: Permits {
            permits: semaphore.permits(),
            available: semaphore.available(),
        },
        parties: parties.collect(),
    }));
    Ok(())
}

fn short(incarnation: Incarnation) -> String {
    format!("{}.{}", incarnation.partition(), incarnation.number())
}
