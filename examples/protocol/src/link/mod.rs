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
//! The last four may be missing: then the kernel's log is not sent, KMON is not rung, and the
//! memory is not tested.
//!
//! KMON formats the region and creates the segments before an instance sees it. The instance
//! attaches and formats nothing. Either end may die and attach again as a new incarnation:
//!
//! - **A1** Only the latest incarnation of an end uses the rings. It attaches when the earlier one
//!   is gone. An earlier one that was wrongly presumed gone ends with [`LinkError::Evicted`].
//! - **A2** A command runs only in the incarnation of the instance that it is for, and only if the
//!   current incarnation of KMON has sent it. Other commands are discarded and counted.
//! - **A3** Events and kernel lines are kept when either end dies. KMON releases each one after it
//!   has handled it, and notes the position of the last one. So all its incarnations together
//!   handle each one once.
//! - **A4** An end uses nothing of a region that was formatted after it attached: it checks before
//!   each record and each heartbeat, and ends with [`LinkError::Formatted`]. Before KMON formats a
//!   region whose instance may be alive, it removes the magic number and waits for [`RELEASE_TIME`], so
//!   that the instance notices this.

pub mod bells;
mod daemon;
pub(crate) mod ends;
mod idle_task;
mod kernel;
pub mod memory;
mod monitor;
mod record_wait;

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

pub(crate) use crate::wire::COMMAND_BODY;

use crate::LAST_PARTITION;
use crate::settings::Settings;
use crate::stats::Stats;

/// Version of the messages, which [`crate::Event::Hello`] reports.
pub const VERSION: u16 = 2;

pub(crate) const COMMAND_RING: usize = 32 << 10;
pub(crate) const RESULT_RING: usize = 256 << 10;
pub(crate) const GEOMETRY: Geometry = Geometry {
    segments: 16,
    partitions: LAST_PARTITION as usize,
    block_size: 128,
};

/// The longest time between two heartbeats of an instance that is not rung.
pub const BEAT: Duration = Duration::from_millis(200);

/// How long an instance may take to notice that its region is being formatted: it checks with each
/// heartbeat, and when it is rung ([`Waiting::wake_peer`]).
pub const RELEASE_TIME: Duration = Duration::from_millis(600);

/// What an end receives from a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received<T> {
    /// A message of the peer.
    Message(T),
    /// The peer was restarted: the following messages are from its new incarnation. Reported once.
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

/// The result of an attempt to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The message was sent.
    Whole,
    /// There is no room now.
    Full,
    /// The peer was restarted, and nothing was sent. Reported once.
    Restarted,
}

/// Why a link cannot be made or used any more, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkError {
    /// Another process has attached in place of this one and uses the rings.
    Evicted,
    /// The region was formatted again, or is about to be formatted.
    Formatted,
    /// KMON has not formatted the region completely yet; with the details.
    Unformatted(String),
    /// Another failure; with the details.
    Broken(String),
}

impl LinkError {
    fn new(what: &str, why: impl fmt::Display) -> Self {
        Self::Broken(format!("{what}: {why}"))
    }

    /// Returns `Unformatted` if `is_unformatted`, else `Broken`.
    fn unformatted_if(is_unformatted: bool, what: &str, why: impl fmt::Display) -> Self {
        match Self::new(what, why) {
            Self::Broken(why) if is_unformatted => Self::Unformatted(why),
            other => other,
        }
    }
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Evicted => f.write_str("another process has attached in place of this one"),
            Self::Formatted => f.write_str("the region was formatted again"),
            Self::Unformatted(why) | Self::Broken(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for LinkError {}

/// The four segments that every region has.
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

/// Finds or makes a segment by `open`. A segment that is not found counts as unformatted.
fn segment<'m>(
    open: &mut impl FnMut(&Request) -> Result<Segment<'m>, OpenError>,
    name: &str,
    kind: Kind,
    len: usize,
) -> Result<Segment<'m>, LinkError> {
    let request = Request::named(name, kind, len).map_err(|e| LinkError::new(name, e))?;
    open(&request).map_err(|e| LinkError::unformatted_if(e == OpenError::NotFound, name, e))
}

#[cfg(test)]
mod tests;
