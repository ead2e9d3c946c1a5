//! The output of `show`.

use std::fmt;

use serde::Serialize;

#[derive(Serialize)]
pub(crate) struct Shown {
    pub(crate) mutex: Counters,
    pub(crate) rwlock: Counters,
    pub(crate) bakery: Counters,
    pub(crate) semaphore: Permits,
    pub(crate) parties: Vec<Attached>,
}

#[derive(Serialize)]
pub(crate) struct Counters {
    pub(crate) total: u64,
    pub(crate) by: Vec<u64>,
}

#[derive(Serialize)]
pub(crate) struct Permits {
    pub(crate) permits: usize,
    pub(crate) available: usize,
}

#[derive(Serialize)]
pub(crate) struct Attached {
    pub(crate) incarnation: String,
    pub(crate) attached: bool,
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
            true => party.incarnation.clone(),
            false => format!("{} (left)", party.incarnation),
        });
        write!(f, "parties: {}", parties.collect::<Vec<_>>().join(", "))
    }
}
