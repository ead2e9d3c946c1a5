//! The two ends of an instance's region.
//!
//! | segment            | kind     | bytes              | producer or writer |
//! |--------------------|----------|--------------------|--------------------|
//! | `kmon.settings`    | snapshot | 256                | KMON               |
//! | `kmon.command`     | ring     | 32 KiB             | KMON               |
//! | `kmon.result`      | ring     | 256 KiB            | instance           |
//! | `kmon.stats`       | snapshot | [`Stats::MAX_LEN`] | instance           |
//! | `kmon.kernel`      | ring     | 64 KiB             | instance           |
//! | `kmon.kernel-mark` | snapshot | 24                 | instance           |
//! | `kmon.bells`       | raw      | 128                | KMON               |
//! | `kmon.litmus`      | litmus   | [`Litmus::segment_len`](shmem_sync::litmus::Litmus::segment_len) | both |
//!
//! The last four may be missing: then the kernel's log is not told, KMON not rung, and the
//! memory not tried.
//!
//! KMON formats the region and creates the segments before an instance sees
//! it; the instance attaches and formats nothing. Either end may die and come
//! back as a new incarnation:
//!
//! - **A1** Of two incarnations of one end only the later one uses the rings: it attaches
//!   when the earlier one is over, and one that was wrongly thought so ends with
//!   [`LinkError::Evicted`].
//! - **A2** No command is run but by the incarnation of the instance that it was meant
//!   for, and none of an earlier incarnation of KMON: unread ones are discarded, and counted.
//! - **A3** Events and kernel lines are kept whoever dies. Each is released behind its handling,
//!   so that KMON, which notes the position of the last one it handled, handles
//!   each once over all its incarnations.
//! - **A4** An end uses nothing of a region that was formatted anew under it: it
//!   looks before each record and each beat, and ends with [`LinkError::Formatted`].
//!   KMON, before it formats a region with a living instance, removes the magic
//!   and gives the instance [`LET_GO`] to look.

pub mod bells;
mod daemon;
pub(crate) mod ends;
mod idle_task;
mod kernel;
mod look;
pub mod memory;
mod monitor;

use std::fmt;
use std::time::Duration;

use shmem_core::ring::Ring;
use shmem_core::snapshot;
use shmem_registry::{Geometry, Kind, OpenError, Request, Segment};

pub use bells::{Bells, RingPeers, Waiting};
pub use daemon::{CommandReceiver, DaemonLink, EventSender, StatsWriter};
pub use idle_task::{Idle, IdleTask};
pub use kernel::{KernelReceiver, KernelSender};
pub use monitor::{CommandSender, EventReceiver, MonitorLink};
pub use shmem_sync::litmus::{Finding, Verdict};

use crate::LAST_PARTITION;
use crate::settings::Settings;
use crate::stats::Stats;

/// Version of the messages, said in [`crate::Event::Hello`].
pub const VERSION: u16 = 2;

pub(crate) const COMMAND_RING: usize = 32 << 10;
pub(crate) const RESULT_RING: usize = 256 << 10;
pub(crate) const GEOMETRY: Geometry = Geometry {
    segments: 16,
    partitions: LAST_PARTITION as usize,
    block: 128,
};

/// Longest body of a command that carries bytes.
pub(crate) const COMMAND_BODY: usize = 4 << 10;

/// Time between two heartbeats of an instance that is not rung, at most.
pub const BEAT: Duration = Duration::from_millis(200);

/// How long an instance may take to see that its region is one no more: it looks with each
/// beat, and when it is rung ([`Waiting::disturb`]).
pub const LET_GO: Duration = Duration::from_millis(600);

/// What comes out of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received<T> {
    /// What the peer sent.
    Message(T),
    /// The peer was restarted: what follows is from its new incarnation. Said once.
    Restarted,
}

impl<T> Received<T> {
    fn map<U>(self, map: impl FnOnce(T) -> U) -> Received<U> {
        match self {
            Self::Message(message) => Received::Message(map(message)),
            Self::Restarted => Received::Restarted,
        }
    }
}

/// What became of an attempt to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It is on its way.
    Whole,
    /// There is no room now.
    Full,
    /// The peer was restarted, and nothing was sent. Said once.
    Restarted,
}

/// Why a link cannot be made or used any more: one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkError {
    /// Another process has attached in this one's place: the rings are its.
    Evicted,
    /// The region was formatted anew, or is about to be: what was attached to is gone.
    Formatted,
    /// KMON has not formatted the region yet, or not all of it, in words.
    Unformatted(String),
    /// Whatever else, in words.
    Broken(String),
}

impl LinkError {
    fn new(what: &str, why: impl fmt::Display) -> Self {
        Self::Broken(format!("{what}: {why}"))
    }

    /// What KMON has still to make, if `is_due`.
    fn due(is_due: bool, what: &str, why: impl fmt::Display) -> Self {
        match Self::new(what, why) {
            Self::Broken(why) if is_due => Self::Unformatted(why),
            other => other,
        }
    }
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Evicted => f.write_str("another process has attached in this one's place"),
            Self::Formatted => f.write_str("the region was formatted anew"),
            Self::Unformatted(why) | Self::Broken(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for LinkError {}

/// The four segments that each region has.
struct Segments<'m> {
    settings: Segment<'m>,
    command: Segment<'m>,
    result: Segment<'m>,
    stats: Segment<'m>,
}

impl<'m> Segments<'m> {
    fn find(
        mut open: impl FnMut(&Request) -> Result<Segment<'m>, OpenError>,
    ) -> Result<Self, LinkError> {
        let mut segment = |name, kind, len| segment(&mut open, name, kind, len);
        let settings = snapshot::segment_len(Settings::MAX_LEN);
        let stats = snapshot::segment_len(Stats::MAX_LEN);
        Ok(Self {
            settings: segment("kmon.settings", Kind::SNAPSHOT, settings)?,
            command: segment("kmon.command", Kind::RING, Ring::segment_len(COMMAND_RING))?,
            result: segment("kmon.result", Kind::RING, Ring::segment_len(RESULT_RING))?,
            stats: segment("kmon.stats", Kind::SNAPSHOT, stats)?,
        })
    }
}

/// What `open` finds or makes; what it does not find is due.
fn segment<'m>(
    open: &mut impl FnMut(&Request) -> Result<Segment<'m>, OpenError>,
    name: &str,
    kind: Kind,
    len: usize,
) -> Result<Segment<'m>, LinkError> {
    let request = Request::named(name, kind, len).map_err(|e| LinkError::new(name, e))?;
    open(&request).map_err(|e| LinkError::due(e == OpenError::NotFound, name, e))
}

#[cfg(test)]
mod tests;
