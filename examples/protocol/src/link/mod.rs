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
//! it; the instance attaches and formats nothing. Either end may die and come
//! back as a new life:
//!
//! - **A1** Of two lives of one end only the later one uses the rings: it attaches
//!   when the earlier one is over, and one that was wrongly thought so ends with
//!   [`LinkError::Replaced`].
//! - **A2** No command is run but by the life of the instance that it was meant
//!   for, and none of an earlier life of KMON: unread ones are discarded, and counted.
//! - **A3** Events are kept whoever dies. Each is released behind its handling,
//!   so that KMON, which notes the position of the last one it handled, handles
//!   each once over all its lives.
//! - **A4** An end uses nothing of a region that was formatted anew under it: it
//!   looks before each record and each beat, and ends with [`LinkError::Formatted`].
//!   KMON, before it formats a region with a living instance, removes the magic
//!   and gives the instance [`LET_GO`] to look.

mod daemon;
pub(crate) mod ends;
mod monitor;

use std::fmt;
use std::time::Duration;

use shmem_core::ring::Ring;
use shmem_core::snapshot;
use shmem_registry::{Geometry, Kind, OpenError, Request, Segment};

pub use daemon::{CommandReceiver, DaemonLink, EventSender, StatsWriter};
pub use monitor::{CommandSender, EventReceiver, MonitorLink};

use crate::LAST_PARTITION;
use crate::settings::Settings;
use crate::stats::Stats;

/// Version of the messages, said in [`crate::Event::Hello`].
pub const VERSION: u16 = 2;

pub(crate) const COMMAND_RING: usize = 64 << 10;
pub(crate) const RESULT_RING: usize = 1 << 20;
pub(crate) const GEOMETRY: Geometry = Geometry {
    segments: 16,
    partitions: LAST_PARTITION as usize,
    block: 128,
};

/// Longest body of a command that carries bytes.
pub(crate) const COMMAND_BODY: usize = 4 << 10;

/// How long an instance may take to see that its region is one no more: it
/// looks with each beat.
pub const LET_GO: Duration = Duration::from_millis(300);

/// How two ends wait for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// They are processes of one kernel.
    Futex,
    /// They share nothing but the memory.
    Poll,
}

/// What comes out of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received<T> {
    /// What the peer sent.
    Message(T),
    /// The peer was restarted: what follows is from its new life. Said once.
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
    Replaced,
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
            Self::Replaced => f.write_str("another process has attached in this one's place"),
            Self::Formatted => f.write_str("the region was formatted anew"),
            Self::Unformatted(why) | Self::Broken(why) => f.write_str(why),
        }
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
            open(&request).map_err(|e| LinkError::due(e == OpenError::NotFound, name, e))
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
    use std::time::Duration;

    use shmem_core::Region;
    use shmem_core::mem::Heap;
    use shmem_core::primitive::Ordering::Relaxed;
    use shmem_registry::Registry;

    use super::*;
    use crate::message::{Command, Event};

    const AT_ONCE: Duration = Duration::ZERO;

    fn settings(partition: u8) -> Settings {
        Settings {
            partition,
            period_ms: 1000,
            name: "an instance".into(),
        }
    }

    fn input(bytes: &[u8]) -> Command<'_> {
        Command::Input(bytes)
    }

    /// What the instance is told now.
    fn told(orders: &mut CommandReceiver<'_>) -> Vec<Received<Vec<u8>>> {
        let mut told = Vec::new();
        let taken = orders.receive(AT_ONCE, |received| {
            told.push(received.map(|command| match command {
                Command::Input(bytes) => bytes.to_vec(),
                other => panic!("{other:?}"),
            }));
        });
        taken.unwrap();
        told
    }

    fn message(text: &str) -> Received<Vec<u8>> {
        Received::Message(text.into())
    }

    #[test]
    fn every_partition_number_gets_a_region_and_both_ends_of_it() {
        for partition in [2, LAST_PARTITION] {
            let heap = Heap::new(MonitorLink::REGION_LEN);
            let settings = settings(partition);
            let monitor = MonitorLink::create(heap.window(), &settings, Waiting::Futex).unwrap();
            let daemon = DaemonLink::attach(heap.window(), Waiting::Futex).unwrap();
            assert_eq!(daemon.settings(), &settings);
            let (mut commands, mut events) = monitor.split();
            let (mut out, mut orders, mut stats) = daemon.split();

            assert_eq!(commands.send(&input(b"ls\r"), 1), Ok(Sent::Whole));
            assert_eq!(told(&mut orders), [message("ls\r")]);
            assert_eq!(out.send(&Event::Goodbye), Ok(true));
            assert_eq!(events.receive(AT_ONCE, |_, _| {}), Ok(1));
            assert!(events.stats().is_none());
            stats.publish(&Stats::default());
            assert_eq!(events.stats(), Some(Stats::default()));
        }
    }

    #[test]
    fn a_new_life_of_the_instance_runs_no_old_command_and_what_it_said_is_kept() {
        let heap = Heap::new(MonitorLink::REGION_LEN);
        let monitor = MonitorLink::create(heap.window(), &settings(2), Waiting::Poll).unwrap();
        let (mut commands, mut events) = monitor.split();
        let first = DaemonLink::attach(heap.window(), Waiting::Poll).unwrap();
        assert_eq!(commands.send(&input(b"old"), 1), Ok(Sent::Whole));
        let (mut out, ..) = first.split();
        assert_eq!(out.send(&Event::Output(b"last words")), Ok(true));
        drop(out);

        let second = DaemonLink::attach(heap.window(), Waiting::Poll).unwrap();
        assert_eq!(second.life().incarnation(), 2);
        let (mut out, mut orders, _stats) = second.split();
        assert_eq!(out.send(&Event::Output(b"first words")), Ok(true));
        // Told once that the instance is another, and not obeyed for who was meant.
        assert_eq!(commands.send(&input(b"late"), 1), Ok(Sent::Restarted));
        assert_eq!(commands.send(&input(b"late"), 1), Ok(Sent::Whole));
        assert_eq!(commands.send(&input(b"new"), 2), Ok(Sent::Whole));
        assert_eq!(told(&mut orders), [message("new")]);
        assert_eq!((orders.take_discarded(), orders.take_discarded()), (2, 0));

        let mut heard = Vec::new();
        let taken = events.receive(AT_ONCE, |_, received| {
            heard.push(received.map(|event| match event {
                Event::Output(bytes) => bytes.to_vec(),
                other => panic!("{other:?}"),
            }));
        });
        let expected = [
            message("last words"),
            Received::Restarted,
            message("first words"),
        ];
        assert_eq!((taken, &heard[..]), (Ok(3), &expected[..]));
    }

    #[test]
    fn a_new_life_of_kmon_hears_what_the_old_one_had_not_handled_and_nothing_twice() {
        let heap = Heap::new(MonitorLink::REGION_LEN);
        let first = MonitorLink::create(heap.window(), &settings(2), Waiting::Poll).unwrap();
        let daemon = DaemonLink::attach(heap.window(), Waiting::Poll).unwrap();
        let (mut out, mut orders, _stats) = daemon.split();
        let (mut commands, mut events) = first.split();
        for bytes in [b"one", b"two", b"six"] {
            assert_eq!(out.send(&Event::Output(bytes)), Ok(true));
        }
        assert_eq!(commands.send(&input(b"old"), 1), Ok(Sent::Whole));
        // It handles one, notes its position, and dies before it releases it.
        let mut noted = None;
        let died = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            events.receive(AT_ONCE, |at, _| {
                noted = Some(at);
                std::panic::resume_unwind(Box::new("killed"));
            })
        }));
        assert!(died.is_err());
        drop((commands, events));

        let second = MonitorLink::attach(heap.window(), &settings(2), Waiting::Poll).unwrap();
        assert_eq!(second.life().incarnation(), 2);
        let (mut commands, mut events) = second.split();
        events.skip(noted.unwrap());
        events.skip(noted.unwrap());
        let mut heard = Vec::new();
        let taken = events.receive(AT_ONCE, |_, received| match received {
            Received::Message(Event::Output(bytes)) => heard.push(bytes.to_vec()),
            other => panic!("{other:?}"),
        });
        assert_eq!(
            (taken, heard),
            (Ok(2), vec![b"two".to_vec(), b"six".to_vec()])
        );
        assert_eq!(commands.send(&input(b"new"), 1), Ok(Sent::Whole));
        assert_eq!(told(&mut orders), [Received::Restarted, message("new")]);
        assert_eq!(orders.take_discarded(), 1);
        assert_eq!(out.send(&Event::Goodbye), Ok(true));
        assert_eq!(events.receive(AT_ONCE, |_, _| {}), Ok(1));
    }

    #[test]
    fn a_life_that_was_replaced_uses_its_rings_no_more() {
        let heap = Heap::new(MonitorLink::REGION_LEN);
        let _monitor = MonitorLink::create(heap.window(), &settings(2), Waiting::Poll).unwrap();
        let asleep = DaemonLink::attach(heap.window(), Waiting::Poll).unwrap();
        // Its process lives, but its heart stands still.
        let second = DaemonLink::attach(heap.window(), Waiting::Poll).unwrap();
        assert_eq!(second.life().incarnation(), 2);
        let (mut out, mut orders, _stats) = asleep.split();
        assert_eq!(out.send(&Event::Goodbye), Err(LinkError::Replaced));
        let heard = orders.receive(AT_ONCE, |_| {});
        assert_eq!(heard, Err(LinkError::Replaced));
        assert_eq!(orders.beat(), Err(LinkError::Replaced));
    }

    #[test]
    fn a_region_is_due_until_kmon_has_made_all_of_it() {
        let heap = Heap::new(MonitorLink::REGION_LEN);
        let attach = || DaemonLink::attach(heap.window(), Waiting::Poll).err();
        let is_due = || matches!(attach(), Some(LinkError::Unformatted(_)));
        assert!(is_due());
        let region = Region::format(heap.window(), 0).unwrap();
        assert!(is_due());
        Registry::format(region, GEOMETRY).unwrap();
        assert!(is_due());
        let _monitor = MonitorLink::create(heap.window(), &settings(2), Waiting::Poll).unwrap();
        assert_eq!(attach(), None);
        heap.window().word(4).store(99, Relaxed);
        assert!(matches!(attach(), Some(LinkError::Broken(_))));
    }

    #[test]
    fn an_end_uses_nothing_of_a_region_that_was_formatted_anew() {
        let heap = Heap::new(MonitorLink::REGION_LEN);
        let create = || MonitorLink::create(heap.window(), &settings(2), Waiting::Poll).unwrap();
        let (_commands, _events) = create().split();
        let daemon = DaemonLink::attach(heap.window(), Waiting::Poll).unwrap();
        let (mut out, mut orders, mut stats) = daemon.split();
        let monitor = create();
        assert_eq!(out.send(&Event::Goodbye), Err(LinkError::Formatted));
        assert_eq!(orders.receive(AT_ONCE, |_| {}), Err(LinkError::Formatted));
        assert_eq!(orders.beat(), Err(LinkError::Formatted));
        stats.publish(&Stats::default());
        let (_, mut events) = monitor.split();
        assert_eq!(events.receive(AT_ONCE, |_, _| {}), Ok(0));
        assert!(events.stats().is_none() && events.peer_beat() == 0);
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
