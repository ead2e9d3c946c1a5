//! What an instance consists of, whatever its kind: how it is started, found
//! again, watched and ended.
//!
//! | module       | one purpose                                              |
//! |--------------|----------------------------------------------------------|
//! | [`process`]  | processes of this machine (`embedded`)                   |
//! | [`machine`]  | a machine that QEMU makes                                |
//! | [`server`]   | the server of its doorbells, a process beside it         |
//! | [`door`]     | KMON as a peer of that machine                           |
//! | [`external`] | memory to which somebody attaches whom KMON did not start |
//! | [`common`]   | what all kinds have in common                            |
//! | [`launch`]   | what a body is made from                                 |
//! | [`kept`]     | by what it is found again                                |
//!
//! - **B1** Nothing waits for the instance, but for what the operator asks of a machine
//!   ([`Backend::pause`], [`Backend::resume`], [`Backend::power_down`]): two seconds at most.
//! - **B2** A body that is dropped goes on; [`find`] has it again by its [`BackendRecord`].
//! - **B3** After [`Backend::kill`] it ends, whatever it did before.

mod common;
mod door;
mod external;
mod kept;
mod launch;
mod machine;
mod process;
mod server;

use std::sync::Arc;

use anyhow::{Context, bail};
use kmon_protocol::link::{MonitorLink, Waiting};
use shmem_core::Mapping;

pub(crate) use common::{Backend, Condition, End, Found, LastWords, Say, Spawned};
pub(crate) use kept::BackendRecord;
pub(crate) use launch::{Launch, Programs};

use crate::embedded;
use crate::kind::Kind;

impl Spawned {
    /// Lets it begin.
    pub(crate) fn begin(self, say: Say) -> Arc<dyn Backend> {
        match self {
            Self::Waits(newborn) => process::of(newborn.begin(say)),
            Self::Begun(body, _) => body,
        }
    }

    /// Takes it back.
    pub(crate) fn give_up(self) {
        match self {
            Self::Waits(newborn) => newborn.give_up(),
            Self::Begun(body, _) => body.kill(),
        }
    }
}

/// Bytes of a machine's region: a power of two, as a PCI device's memory must be.
const MACHINE_REGION_LEN: usize = 2 << 20;

/// What is there before the region is formatted.
pub(crate) struct AttachedRegion {
    /// Nobody uses it.
    pub(crate) memory: Mapping,
    /// How KMON and the instance wait for each other over it.
    pub(crate) waiting: Waiting,
    /// What the body needs beside it.
    pub(crate) beside: Beside,
}

/// Who runs beside a body.
#[derive(Default)]
pub(crate) struct Beside(Option<machine::Beside>);

/// Makes the memory for a fresh region, and who runs beside the body that is to
/// be on it.
pub(crate) fn prepare(launch: &Launch<'_>) -> anyhow::Result<AttachedRegion> {
    let ground = |memory| AttachedRegion {
        memory,
        waiting: launch.kind.waiting(),
        beside: Beside::default(),
    };
    match launch.kind {
        Kind::External(external) => Ok(ground(external::vacate(external)?)),
        Kind::Process { .. } => {
            let len = MonitorLink::REGION_LEN;
            Ok(ground(anonymous(launch.number, len)?))
        }
        Kind::Qemu(qemu) => {
            let mut ground = ground(anonymous(launch.number, MACHINE_REGION_LEN)?);
            if let Some((beside, waiting)) = machine::prepare(launch, qemu, &ground.memory)? {
                ground.waiting = waiting;
                ground.beside = Beside(Some(beside));
            }
            Ok(ground)
        }
    }
}

fn anonymous(number: u8, len: usize) -> anyhow::Result<Mapping> {
    Mapping::memfd(&format!("kmon-{number}"), len).context("no memory for its region")
}

/// What is recorded while a body is being made that begins before it can be
/// recorded itself; by that, [`kill`] finds it.
pub(crate) fn begun(kind: &Kind) -> Option<BackendRecord> {
    match kind {
        Kind::Qemu(_) => Some(BackendRecord::Begun),
        Kind::Process { .. } | Kind::External(_) => None,
    }
}

/// Makes a body on a region that was formatted in `memory`.
pub(crate) fn start(
    launch: &Launch<'_>,
    memory: &Mapping,
    beside: Beside,
) -> anyhow::Result<Spawned> {
    match launch.kind {
        Kind::Process { shell } => process::start(launch, shell.as_deref(), memory),
        Kind::Qemu(qemu) => machine::start(launch, qemu, memory, beside.0),
        Kind::External(_) => Ok(Spawned::Begun(external::body(), BackendRecord::External)),
    }
}

/// Finds a body that an earlier KMON left.
///
/// # Errors
///
/// It is gone, or has not what it should have.
pub(crate) fn find(launch: &Launch<'_>, kept: &BackendRecord, say: Say) -> anyhow::Result<Found> {
    let (body, memory) = match (kept, launch.kind) {
        (BackendRecord::Process(kept), _) => process::find(kept, say)?,
        (BackendRecord::Begun, _) => bail!("it was just being started"),
        (BackendRecord::Machine(kept), _) => return machine::find(launch, kept, say),
        (BackendRecord::External, Kind::External(external)) => external::find(external)?,
        (BackendRecord::External, _) => bail!("its record is none"),
    };
    let waiting = launch.kind.waiting();
    Ok(Found {
        body,
        memory,
        waiting,
    })
}

/// Kills what is left of a body that an earlier KMON started.
pub(crate) fn kill(launch: &Launch<'_>, kept: &BackendRecord) {
    match kept {
        BackendRecord::Process(kept) => embedded::kill(kept),
        BackendRecord::Begun | BackendRecord::Machine(_) => machine::kill_strays(launch),
        BackendRecord::External => {}
    }
}
