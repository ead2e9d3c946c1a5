//! The locks to which a party may have only one handle at a time.

use anyhow::Result;
use shmem_core::doorbell::NoDoorbell;
use shmem_sync::{BakeryMutex, Barrier};

use crate::area;
use crate::cli::PARTIES;
use crate::ledger::Counters;
use crate::party::Party;

/// Creates the party's handle to the bakery mutex.
pub(crate) fn bakery<'m>(party: &Party<'m>) -> Result<BakeryMutex<'m, Counters>> {
    let segment = party.area.open(area::bakery())?;
    // SAFETY: a process runs one command, which attaches to this mutex once.
    Ok(unsafe { BakeryMutex::attach(segment, party.incarnation, PARTIES) }?)
}

/// Creates the party's handle to the barrier.
pub(crate) fn barrier<'m>(party: &Party<'m>) -> Result<Barrier<'m>> {
    let segment = party.area.open(area::barrier())?;
    let parties = party.options.parties.into();
    // SAFETY: with `--start-together` a party attaches again for its work, after it has dropped
    // the first handle.
    Ok(unsafe { Barrier::attach(segment, party.incarnation, parties, &NoDoorbell) }?)
}
