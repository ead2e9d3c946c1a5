//! Shows the current content of the region: counters, permits, attached parties.

use anyhow::Result;
use shmem_core::Incarnation;
use shmem_core::doorbell::NoDoorbell;
use shmem_sync::Semaphore;

use crate::area::{self, Area, Named};
use crate::cli::PARTIES;
use crate::ledger;
use crate::report::{Event, Report};
use crate::shown::{Attached, Counters, Permits, Shown};

/// Reads without attaching, and changes nothing. Parties that work meanwhile make the values
/// inconsistent.
pub(crate) fn run(area: Area<'_>, report: Report) -> Result<()> {
    // This incarnation is never attached, and acquires nothing.
    let unused = Incarnation::first(PARTIES + 1);
    let counters = |segment: Named| -> Result<Counters> {
        let counters = ledger::read_unlocked(area.open(segment)?);
        Ok(Counters {
            total: ledger::total(&counters),
            by: ledger::by_party(&counters).to_vec(),
        })
    };
    let semaphore = Semaphore::attach(area.open(area::semaphore())?, unused, &NoDoorbell)?;
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
