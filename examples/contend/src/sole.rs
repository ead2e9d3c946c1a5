//! The locks to which a party may have one handle at a time.

use anyhow::Result;
use shmem_core::doorbell::Silent;
use shmem_sync::{BakeryMutex, Barrier};

use crate::area;
use crate::cli::PARTIES;
use crate::ledger::Counters;
use crate::party::Party;

/// The party's handle to the bakery mutex.
pub(crate) fn bakery<'m>(party: &Party<'m>) -> Result<BakeryMutex<'m, Counters>> {
    let segment = party.area.open(area::bakery())?;
    // SAFETY: a party does one thing, once, in which it attaches to this mutex once.
    Ok(unsafe { BakeryMutex::attach(segment, party.incarnation, PARTIES) }?)
}

/// The party's handle to the barrier.
pub(crate) fn barrier<'m>(party: &Party<'m>) -> Result<Barrier<'m>> {
    let segment = party.area.open(area::barrier())?;
    let parties = party.options.parties.into();
    // SAFETY: a party that meets the others before its work attaches once more for the work,
    // and has dropped the first handle by then.
    Ok(unsafe { Barrier::attach(segment, party.incarnation, parties, &Silent) }?)
}
