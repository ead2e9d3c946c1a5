//! An instance's end of its region.

use std::sync::Arc;
use std::time::Duration;

use shmem_core::ring::OnRestart;
use shmem_core::snapshot::{ReadError, Reader, Writer};
use shmem_core::{Incarnation, Window};
use shmem_registry::Segment;
use shmem_sync::litmus::Verdict;

use super::ends::{Found, Membership, Receiver, Release, Sender};
use super::idle_task::{Idle, IdleTask};
use super::kernel::{KernelSegments, KernelSender};
use super::memory::MemoryTest;
use super::record_wait::{BackOff, Side};
use super::{LinkError, Received, Segments, Sent, Waiting};
use crate::MONITOR;
use crate::message::{Command, EVENT_BODY, Event, HEADER_LEN};
use crate::settings::Settings;
use crate::stats::Stats;
use crate::transfer::Report;

/// An instance's end.
pub struct DaemonLink<'m> {
    settings: Settings,
    sender: EventSender<'m>,
    receiver: CommandReceiver<'m>,
    stats: StatsWriter<'m>,
    kernel: Option<KernelSender<'m>>,
}

impl<'m> DaemonLink<'m> {
    /// Attaches to the region that KMON formatted in `memory`, as the instance's next incarnation:
    /// at once if the earlier one has left or its process is gone, else after it was silent for 3
    /// s.
    ///
    /// # Errors
    ///
    /// [`LinkError::Unformatted`] if KMON has not formatted it completely; another error if it is
    /// not such a region, or if the earlier incarnation is still alive after 4 s.
    pub fn attach(memory: Window<'m>, waiting: Waiting) -> Result<Self, LinkError> {
        let attached = Self::join(memory, waiting);
        // KMON began to format the region meanwhile, so the errors are not reliable.
        match attached {
            Err(LinkError::Formatted) => {
                Err(LinkError::Unformatted(LinkError::Formatted.to_string()))
            }
            attached => attached,
        }
    }

    fn join(memory: Window<'m>, waiting: Waiting) -> Result<Self, LinkError> {
        let found = Found::attach(memory)?;
        let registry = found.registry;
        let segments = Segments::find(|request| registry.open(request))?;
        let settings = settings(&segments.settings)?;
        // After the settings, which KMON writes last: a segment that is missing now was never made.
        let kernel = KernelSegments::find(|request| registry.open(request))?;
        let member = Membership::join(found, settings.partition, MONITOR, waiting)?;
        let member = Arc::new(member);
        member
            .wake_method
            .find_number(|request| registry.open(request))?;
        let trial = MemoryTest::new(member.wake_method.waiting(), |request| {
            registry.open(request)
        })?;
        let kernel = kernel.map(|segments| segments.sender(&member));
        let back_off = BackOff::new(Side::Instance, None);
        let receiver = member.receiver(&segments.command, OnRestart::Discard, back_off)?;
        let sender = member.sender(&segments.result)?;
        Ok(Self {
            kernel: kernel.transpose()?,
            sender: EventSender { end: sender },
            receiver: CommandReceiver {
                reported: receiver.discarded(),
                end: receiver,
                misdirected: 0,
                member: Arc::clone(&member),
                trial,
            },
            stats: StatsWriter {
                writer: Writer::attach(segments.stats.window())
                    .map_err(|e| LinkError::new("kmon.stats", e))?,
                bytes: Vec::new(),
                member,
            },
            settings,
        })
    }

    /// Returns the settings that KMON gave this instance.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Returns the incarnation as which this end is attached.
    pub fn incarnation(&self) -> Incarnation {
        self.receiver.member.incarnation()
    }

    /// Splits the link into parts for separate threads. The last is `None` if KMON made no log
    /// ring.
    pub fn split(
        self,
    ) -> (
        EventSender<'m>,
        CommandReceiver<'m>,
        StatsWriter<'m>,
        Option<KernelSender<'m>>,
    ) {
        (self.sender, self.receiver, self.stats, self.kernel)
    }
}

fn settings(segment: &Segment<'_>) -> Result<Settings, LinkError> {
    let mut bytes = [0; Settings::MAX_LEN];
    let len = Reader::attach(segment.window())
        .map_err(|e| LinkError::new("kmon.settings", e))?
        .read(&mut bytes)
        .map_err(|e| LinkError::unformatted_if(e == ReadError::Empty, "kmon.settings", e))?;
    Settings::decode(&bytes[..len]).map_err(|e| LinkError::new("kmon.settings", e))
}

/// The sending half of an instance.
pub struct EventSender<'m> {
    end: Sender<'m>,
}

impl EventSender<'_> {
    /// The most bytes that one event can carry.
    pub const MAX_BODY: usize = EVENT_BODY;

    /// Sends `event` to the current incarnation of KMON and wakes it. Returns `false` if there is
    /// no room now.
    ///
    /// # Errors
    ///
    /// [`LinkError`] if KMON broke the ring, or another process has attached in place of this one.
    pub fn send(&mut self, event: &Event<'_>) -> Result<bool, LinkError> {
        event.encode(&mut self.end.record);
        // Events are valid for every incarnation of KMON. If KMON restarts twice meanwhile, the
        // caller's next attempt sends this one.
        let mut sent = self.end.send()?;
        if sent == Sent::Restarted {
            sent = self.end.send()?;
        }
        Ok(sent == Sent::Whole)
    }

    /// Waits until the longest record of a copy fits, at most `timeout`.
    pub fn wait_for_copy_space(&mut self, timeout: Duration) {
        self.end
            .wait_for_space(HEADER_LEN + Report::MAX_DATA_BODY, timeout);
    }

    /// Waits until the longest other event fits, at most `timeout`.
    pub fn wait_for_space(&mut self, timeout: Duration) {
        self.end
            .wait_for_space(HEADER_LEN + Self::MAX_BODY, timeout);
    }
}

/// The receiving half of an instance.
pub struct CommandReceiver<'m> {
    end: Receiver<'m>,
    member: Arc<Membership<'m>>,
    trial: MemoryTest<'m>,
    /// Commands for another incarnation that the ring did not discard.
    misdirected: u32,
    /// Discarded commands that were already reported.
    reported: u32,
}

impl CommandReceiver<'_> {
    /// Waits up to `timeout` for a command, then passes a bounded number of available commands to
    /// `handle`, each after its release. Returns the number of records. Skips records that are not
    /// commands, and discards commands that are not for this incarnation.
    ///
    /// # Errors
    ///
    /// [`LinkError`] if KMON broke the ring, or another process has attached in place of this one.
    pub fn receive(
        &mut self,
        timeout: Duration,
        handle: impl FnMut(Received<Command<'_>>),
    ) -> Result<usize, LinkError> {
        self.receive_with_idle_task(&mut Idle, timeout, handle)
    }

    /// Receives as [`CommandReceiver::receive`], and runs `idle_task` while it waits, unless it
    /// waits for a futex.
    ///
    /// # Errors
    ///
    /// Those of [`CommandReceiver::receive`].
    pub fn receive_with_idle_task(
        &mut self,
        idle_task: &mut dyn IdleTask,
        timeout: Duration,
        mut handle: impl FnMut(Received<Command<'_>>),
    ) -> Result<usize, LinkError> {
        let (before, misdirected) = (Release::Before, &mut self.misdirected);
        let incarnation = self.member.incarnation().number();
        self.end.receive(timeout, idle_task, before, |_, received| {
            match received.map(Command::decode) {
                Received::Message(Ok((meant_for, _))) if meant_for != incarnation as u16 => {
                    *misdirected = misdirected.wrapping_add(1);
                }
                Received::Message(Ok((_, command))) => handle(Received::Message(command)),
                Received::Message(Err(_)) => {}
                Received::Restarted => handle(Received::Restarted),
            }
        })
    }

    /// Returns true if KMON interrupts this instance now; otherwise the instance polls.
    pub fn is_rung(&self) -> bool {
        self.end.is_rung()
    }

    /// Returns the number of commands discarded since the last call.
    pub fn take_discarded(&mut self) -> u32 {
        let now = self.end.discarded().wrapping_add(self.misdirected);
        now.wrapping_sub(std::mem::replace(&mut self.reported, now))
    }

    /// Returns true if KMON may test what works across the region's memory.
    pub fn may_try_memory(&self) -> bool {
        self.trial.is_useful()
    }

    /// Tests with KMON what works across the region's memory, in at most 50 ms, if KMON asks. Call
    /// it each time [`CommandReceiver::receive`] returns.
    pub fn try_memory(&mut self) -> Option<Verdict> {
        self.trial.answer()
    }

    /// Stores the heartbeat, which shows KMON that the instance is alive. Call it at least every
    /// second.
    ///
    /// # Errors
    ///
    /// [`LinkError::Evicted`] if another process has attached in place of this one; then the region
    /// must not be used any more.
    pub fn beat(&mut self) -> Result<(), LinkError> {
        self.member.beat()
    }

    /// Returns KMON's heartbeat.
    pub fn peer_beat(&self) -> u32 {
        self.member.peer_beat()
    }
}

/// The part of an instance that publishes statistics.
pub struct StatsWriter<'m> {
    writer: Writer<'m>,
    bytes: Vec<u8>,
    member: Arc<Membership<'m>>,
}

impl StatsWriter<'_> {
    /// Publishes `stats`. Does nothing if the region was formatted again (A4).
    pub fn publish(&mut self, stats: &Stats) {
        if self.member.check().is_err() {
            return;
        }
        stats.encode(&mut self.bytes);
        let written = self.writer.write(&self.bytes);
        written.expect("the segment has room for the longest statistics");
    }
}
