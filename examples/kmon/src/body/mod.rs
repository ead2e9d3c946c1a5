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
//!
//! - **B1** Nothing waits for the instance, but for what the operator asks of a
//!   machine ([`Body::pause`], [`Body::resume`], [`Body::power_down`]): two seconds at most.
//! - **B2** A body that is dropped goes on; [`find`] has it again by its [`Kept`].
//! - **B3** After [`Body::kill`] it ends, whatever it did before.

mod door;
mod external;
mod machine;
mod process;
mod server;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use kmon_protocol::link::{MonitorLink, Waiting};
use serde::{Deserialize, Serialize};
use shmem_core::Mapping;

use crate::embedded;
use crate::kind::Kind;
use crate::rundir::RunDir;
use kmon_qemu::Process;

/// The programs that instances are made with.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) kmon: PathBuf,
    pub(crate) guestd: PathBuf,
    pub(crate) ivshmem_server: PathBuf,
}

/// What a body is made from.
pub(crate) struct Launch<'a> {
    pub(crate) number: u8,
    pub(crate) name: &'a str,
    pub(crate) kind: &'a Kind,
    pub(crate) programs: &'a Programs,
    pub(crate) rundir: &'a RunDir,
}

/// Gets each line that a body itself has to say.
pub(crate) type Say = Box<dyn FnMut(String) + Send>;

/// By what the next KMON finds a body again.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kept {
    Process(embedded::Kept),
    /// A machine that is just being started.
    Begun,
    Machine(machine::Kept),
    External,
}

/// How a body is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    Lives,
    /// It stands still, because somebody asked for that.
    Paused,
    /// Its kernel has given up.
    Panicked,
    Ended(End),
}

/// How a body ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// Nothing went wrong.
    pub(crate) in_order: bool,
    pub(crate) how: String,
}

/// What was said before an end.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LastWords {
    /// Guestd took its leave.
    pub(crate) goodbye: bool,
    /// The operator asked for the end.
    pub(crate) asked: bool,
}

/// What an instance consists of.
pub(crate) trait Body: Send + Sync {
    /// How it is now, after what was said last.
    fn condition(&self, said: LastWords) -> Condition;

    /// Ends it as it cannot refuse; one that has ended is ended already.
    fn kill(&self);

    /// Its process on this machine, if it is one.
    fn pid(&self) -> Option<i32>;

    /// How long it has been there.
    fn age(&self) -> Duration;

    /// The process of its guestd, which is number `inside` there, where that can be found.
    fn guestd(&self, inside: u32) -> Option<Process> {
        let _ = inside;
        None
    }

    /// Whether it is over when guestd is.
    fn ends_with_guestd(&self) -> bool {
        false
    }

    /// Guestd has greeted.
    fn greeted(&self) {}

    /// What has to be done now and then; what is to be said of it.
    fn tend(&self) -> Option<String> {
        None
    }

    /// Whether it has booted anew since the last call.
    fn has_booted_anew(&self) -> bool {
        false
    }

    /// Presses the button that asks its system to end; false: it has none.
    fn power_down(&self) -> anyhow::Result<bool> {
        Ok(false)
    }

    /// Lets it stand still.
    fn pause(&self) -> anyhow::Result<()>;

    /// Lets it go on.
    fn resume(&self) -> anyhow::Result<()>;
}

/// A body that was just made. One of processes waits for the word to begin.
pub(crate) enum Newborn {
    Waits(embedded::Newborn),
    Begun(Arc<dyn Body>, Kept),
}

impl Newborn {
    /// By what the next KMON finds it again.
    pub(crate) fn kept(&self) -> Kept {
        match self {
            Self::Waits(newborn) => Kept::Process(newborn.kept()),
            Self::Begun(_, kept) => kept.clone(),
        }
    }

    /// Lets it begin.
    pub(crate) fn begin(self, say: Say) -> Arc<dyn Body> {
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

/// What is there before the region is formatted.
pub(crate) struct Ground {
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
pub(crate) fn prepare(launch: &Launch<'_>) -> anyhow::Result<Ground> {
    let ground = |memory| Ground {
        memory,
        waiting: launch.kind.waiting(),
        beside: Beside::default(),
    };
    match launch.kind {
        Kind::External(external) => Ok(ground(external::vacate(external)?)),
        Kind::Process { .. } => Ok(ground(anonymous(launch.number)?)),
        Kind::Qemu(qemu) => {
            let mut ground = ground(anonymous(launch.number)?);
            if let Some((beside, waiting)) = machine::prepare(launch, qemu, &ground.memory)? {
                ground.waiting = waiting;
                ground.beside = Beside(Some(beside));
            }
            Ok(ground)
        }
    }
}

fn anonymous(number: u8) -> anyhow::Result<Mapping> {
    // A PCI device's memory is a power of two.
    let len = MonitorLink::REGION_LEN.next_power_of_two();
    Mapping::memfd(&format!("kmon-{number}"), len).context("no memory for its region")
}

/// What is recorded while a body is being made that begins before it can be
/// recorded itself; by that, [`kill`] finds it.
pub(crate) fn begun(kind: &Kind) -> Option<Kept> {
    match kind {
        Kind::Qemu(_) => Some(Kept::Begun),
        Kind::Process { .. } | Kind::External(_) => None,
    }
}

/// Makes a body on a region that was formatted in `memory`.
pub(crate) fn start(
    launch: &Launch<'_>,
    memory: &Mapping,
    beside: Beside,
) -> anyhow::Result<Newborn> {
    match launch.kind {
        Kind::Process { shell } => process::start(launch, shell.as_deref(), memory),
        Kind::Qemu(qemu) => machine::start(launch, qemu, memory, beside.0),
        Kind::External(_) => Ok(Newborn::Begun(external::body(), Kept::External)),
    }
}

/// A body that an earlier KMON left.
pub(crate) struct Found {
    pub(crate) body: Arc<dyn Body>,
    /// That of its region.
    pub(crate) memory: Mapping,
    pub(crate) waiting: Waiting,
}

/// Finds a body that an earlier KMON left.
///
/// # Errors
///
/// It is gone, or has not what it should have.
pub(crate) fn find(launch: &Launch<'_>, kept: &Kept, say: Say) -> anyhow::Result<Found> {
    let (body, memory) = match (kept, launch.kind) {
        (Kept::Process(kept), _) => process::find(kept, say)?,
        (Kept::Begun, _) => bail!("it was just being started"),
        (Kept::Machine(kept), _) => return machine::find(launch, kept, say),
        (Kept::External, Kind::External(external)) => external::find(external)?,
        (Kept::External, _) => bail!("its record is none"),
    };
    let waiting = launch.kind.waiting();
    Ok(Found {
        body,
        memory,
        waiting,
    })
}

/// Kills what is left of a body that an earlier KMON started.
pub(crate) fn kill(launch: &Launch<'_>, kept: &Kept) {
    match kept {
        Kept::Process(kept) => embedded::kill(kept),
        Kept::Begun | Kept::Machine(_) => machine::kill_strays(launch),
        Kept::External => {}
    }
}
