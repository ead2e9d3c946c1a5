//! What is in the region now: the counters, the permits, who is attached.

use std::fmt;

use anyhow::Result;
use serde::Serialize;
use shmem_core::Life;
use shmem_core::doorbell::Silent;
use shmem_sync::Semaphore;

use crate::area::{self, Area, Named};
use crate::cli::PARTIES;
use crate::ledger;
use crate::report::{Event, Report};

#[derive(Serialize)]
pub(crate) struct Shown {
    mutex: Counters,
    rwlock: Counters,
    bakery: Counters,
    semaphore: Permits,
    parties: Vec<Attached>,
}

#[derive(Serialize)]
struct Counters {
    total: u64,
    by: Vec<u64>,
}

#[derive(Serialize)]
struct Permits {
    permits: usize,
    available: usize,
}

#[derive(Serialize)]
struct Attached {
    life: String,
    attached: bool,
}

/// Looks as nobody, and changes nothing: a look beside those that work can be a mixture.
pub(crate) fn run(area: Area<'_>, report: Report) -> Result<()> {
    // Nobody locks with it.
    let nobody = Life::first(PARTIES + 1);
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
        let life = short(slot.life?);
        let attached = slot.attached;
        Some(Attached { life, attached })
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

fn short(life: Life) -> String {
    format!("{}.{}", life.partition(), life.incarnation())
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, counters) in [
            ("mutex", &self.mutex),
            ("rwlock", &self.rwlock),
            ("bakery", &self.bakery),
        ] {
            let Counters { total, by } = counters;
            writeln!(f, "{name}: total {total}, by party {by:?}")?;
        }
        let Permits { permits, available } = self.semaphore;
        writeln!(f, "semaphore: {available} of {permits} permits available")?;
        let parties = self.parties.iter().map(|party| match party.attached {
            true => party.life.clone(),
            false => format!("{} (left)", party.life),
        });
        write!(f, "parties: {}", parties.collect::<Vec<_>>().join(", "))
    }
}
