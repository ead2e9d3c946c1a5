//! The two ends of an instance's region.
//!
//! | segment         | kind     | bytes        | producer or writer |
//! |-----------------|----------|--------------|--------------------|
//! | `kmon.settings` | snapshot | 256          | KMON               |
//! | `kmon.command`  | ring     | 64 KiB       | KMON               |
//! | `kmon.result`   | ring     | 1 MiB        | instance           |
//! | `kmon.stats`    | snapshot | [`Stats::MAX_LEN`] | instance     |
//!
//! KMON formats the region and creates the segments before an instance sees
//! it; the instance attaches and formats nothing.

mod daemon;
mod ends;
mod monitor;

use std::fmt;

use shmem_core::ring::Ring;
use shmem_core::snapshot;
use shmem_registry::{Geometry, Kind, Request, Segment};

pub use daemon::{CommandReceiver, DaemonLink, EventSender, StatsWriter};
pub use monitor::{CommandSender, EventReceiver, MonitorLink};

use crate::LAST_PARTITION;
use crate::settings::Settings;
use crate::stats::Stats;

/// Version of the messages, said in [`crate::Event::Hello`].
pub const VERSION: u16 = 1;

const COMMAND_RING: usize = 64 << 10;
const RESULT_RING: usize = 1 << 20;
const GEOMETRY: Geometry = Geometry {
    segments: 16,
    partitions: LAST_PARTITION as usize,
    block: 128,
};

/// Longest body of an event that carries bytes.
const EVENT_BODY: usize = 16 << 10;
/// Longest body of a command that carries bytes.
const COMMAND_BODY: usize = 4 << 10;

/// How two ends wait for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// They are processes of one kernel.
    Futex,
    /// They share nothing but the memory.
    Poll,
}

/// Why a link cannot be made or used any more: one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkError(String);

impl LinkError {
    fn new(what: &str, why: impl fmt::Display) -> Self {
        Self(format!("{what}: {why}"))
    }
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for LinkError {}

/// The four segments of a region.
struct Segments<'m> {
    settings: Segment<'m>,
    command: Segment<'m>,
    result: Segment<'m>,
    stats: Segment<'m>,
}

impl<'m> Segments<'m> {
    fn find(
        mut open: impl FnMut(&Request) -> Result<Segment<'m>, shmem_registry::OpenError>,
    ) -> Result<Self, LinkError> {
        let mut segment = |name, kind, len| {
            let request = Request::named(name, kind, len).map_err(|e| LinkError::new(name, e))?;
            open(&request).map_err(|e| LinkError::new(name, e))
        };
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

fn ring<'m>(segment: &Segment<'m>) -> Result<Ring<'m>, LinkError> {
    Ring::attach(segment.window()).map_err(|e| LinkError::new(segment.name().as_str(), e))
}

#[cfg(test)]
mod tests {
    use shmem_core::mem::Heap;

    use super::*;
    use crate::message::{Command, Event};

    #[test]
    fn every_partition_number_gets_a_region_and_both_ends_of_it() {
        for partition in [2, LAST_PARTITION] {
            let heap = Heap::new(MonitorLink::REGION_LEN);
            let settings = Settings {
                partition,
                period_ms: 1000,
                name: "an instance".into(),
            };
            let monitor = MonitorLink::create(heap.window(), &settings, Waiting::Futex).unwrap();
            let daemon = DaemonLink::attach(heap.window(), Waiting::Futex).unwrap();
            assert_eq!(daemon.settings(), &settings);
            let (mut commands, mut events) = monitor.split();
            let (mut out, mut orders, mut stats) = daemon.split();

            assert_eq!(commands.send(&Command::Input(b"ls\r")), Ok(true));
            let mut seen = Vec::new();
            let taken = orders.receive(std::time::Duration::ZERO, |command| {
                if let Command::Input(bytes) = command {
                    seen.extend_from_slice(bytes);
                }
            });
            assert_eq!((taken, &seen[..]), (Ok(1), &b"ls\r"[..]));
            assert_eq!(out.send(&Event::Goodbye), Ok(true));
            assert_eq!(events.receive(std::time::Duration::ZERO, |_| {}), Ok(1));
            assert!(events.stats().is_none());
            stats.publish(&Stats::default());
            assert_eq!(events.stats(), Some(Stats::default()));
        }
    }

    #[test]
    fn memory_that_is_no_region_is_one_line() {
        let heap = Heap::new(4096);
        let error = DaemonLink::attach(heap.window(), Waiting::Poll)
            .err()
            .unwrap();
        let text = error.to_string();
        assert!(text.starts_with("region: not a region"), "{text}");
        assert!(!text.contains('\n'));
    }
}
