//! Starts, finds, watches and ends what an instance consists of, whatever its kind.
//!
//! | module       | one purpose                                              |
//! |--------------|----------------------------------------------------------|
//! | [`process`]  | processes of this machine (`embedded`)                   |
//! | [`machine`]  | a machine under QEMU                                     |
//! | [`server`]   | the process that serves the machine's doorbells          |
//! | [`doorbell`] | KMON as a peer of that machine                           |
//! | [`external`] | memory to which a system attaches that KMON did not start |
//! | [`common`]   | the interface of all kinds                               |
//! | [`launch`]   | what a backend is made from                              |
//! | [`record`]   | the record by which the next KMON finds it               |
//!
//! - **B1** No function waits for the instance, except what the operator requests of a machine
//!   ([`Backend::pause`], [`Backend::resume`], [`Backend::power_down`]): two seconds at most.
//! - **B2** A backend that is dropped continues to run; [`find`] finds it by its [`BackendRecord`].
//! - **B3** After [`Backend::kill`] it ends, whatever it was doing.

mod common;
mod doorbell;
mod external;
mod launch;
mod machine;
mod process;
mod record;
mod server;

use std::sync::Arc;

use anyhow::{Context, bail};
use kmon_protocol::link::{MonitorLink, Waiting};
use shmem_core::Mapping;

pub(crate) use common::{Backend, Condition, End, EndSignals, Found, MessageSink, Spawned};
pub(crate) use launch::{Launch, Programs};
pub(crate) use record::BackendRecord;

use crate::embedded;
use crate::kind::Kind;

impl Spawned {
    /// Starts it.
    pub(crate) fn start(self, report: MessageSink) -> Arc<dyn Backend> {
        match self {
            Self::Waiting(spawned) => process::from_process(spawned.start(report)),
            Self::Started(backend, _) => backend,
        }
    }

    /// Ends it before it was recorded.
    pub(crate) fn abort(self) {
        match self {
            Self::Waiting(spawned) => spawned.abort(),
            Self::Started(backend, _) => backend.kill(),
        }
    }
}

/// Bytes of a machine's region: a power of two, as a PCI device's memory must be.
const MACHINE_REGION_LEN: usize = MonitorLink::REGION_LEN.next_power_of_two();
/// Bytes of a process's region: what its segments need, as all of it is allocated.
const PROCESS_REGION_LEN: usize = 416 << 10;

/// The memory of an instance before its region is formatted.
pub(crate) struct AttachedRegion {
    /// No partition uses it yet.
    pub(crate) memory: Mapping,
    /// How KMON and the instance wait for each other over it.
    pub(crate) waiting: Waiting,
    /// The helper process that the backend needs, if any.
    pub(crate) helper: Helper,
}

/// The helper process of a backend, if it needs one.
#[derive(Default)]
pub(crate) struct Helper(Option<machine::DoorbellServer>);

/// Makes the memory for a new region, and starts the helper process of its backend.
pub(crate) fn prepare(launch: &Launch<'_>) -> anyhow::Result<AttachedRegion> {
    let region = |memory| AttachedRegion {
        memory,
        waiting: launch.kind.waiting(),
        helper: Helper::default(),
    };
    match launch.kind {
        Kind::External(external) => Ok(region(external::prepare(external)?)),
        Kind::Process { .. } => {
            let len = PROCESS_REGION_LEN;
            Ok(region(anonymous(launch.number, len)?))
        }
        Kind::Qemu(qemu) => {
            let mut region = region(anonymous(launch.number, MACHINE_REGION_LEN)?);
            if let Some((helper, waiting)) = machine::prepare(launch, qemu, &region.memory)? {
                region.waiting = waiting;
                region.helper = Helper(Some(helper));
            }
            Ok(region)
        }
    }
}

fn anonymous(number: u8, len: usize) -> anyhow::Result<Mapping> {
    Mapping::memfd(&format!("kmon-{number}"), len).context("its region cannot be allocated")
}

/// Returns the record for the time in which a backend is made, if it starts before it can be
/// recorded. [`kill`] finds the backend by it.
pub(crate) fn provisional_record(kind: &Kind) -> Option<BackendRecord> {
    match kind {
        Kind::Qemu(_) => Some(BackendRecord::Starting),
        Kind::Process { .. } | Kind::External(_) => None,
    }
}

/// Makes a backend on a region that was formatted in `memory`.
pub(crate) fn start(
    launch: &Launch<'_>,
    memory: &Mapping,
    helper: Helper,
) -> anyhow::Result<Spawned> {
    match launch.kind {
        Kind::Process { shell } => process::start(launch, shell.as_deref(), memory),
        Kind::Qemu(qemu) => machine::start(launch, qemu, memory, helper.0),
        Kind::External(external) => {
            let backend = external::backend(external);
            Ok(Spawned::Started(backend, BackendRecord::External))
        }
    }
}

/// Finds a backend that an earlier KMON left.
///
/// # Errors
/// It has ended, or lacks a part that it should have.
pub(crate) fn find(
    launch: &Launch<'_>,
    record: &BackendRecord,
    report: MessageSink,
) -> anyhow::Result<Found> {
    let (backend, memory) = match (record, launch.kind) {
        (BackendRecord::Process(record), _) => process::find(record, report)?,
        (BackendRecord::Starting, _) => bail!("it was still being started"),
        (BackendRecord::Machine(record), _) => return machine::find(launch, record, report),
        (BackendRecord::External, Kind::External(external)) => external::find(external)?,
        (BackendRecord::External, _) => bail!("its record is invalid"),
    };
    let waiting = launch.kind.waiting();
    Ok(Found {
        backend,
        memory,
        waiting,
    })
}

/// Kills what is left of a backend that an earlier KMON started.
pub(crate) fn kill(launch: &Launch<'_>, record: &BackendRecord) {
    match record {
        BackendRecord::Process(record) => embedded::kill(record),
        BackendRecord::Starting | BackendRecord::Machine(_) => machine::kill_unrecorded(launch),
        BackendRecord::External => {}
    }
}
