//! KMON's end of an instance's region.

use std::sync::Arc;
use std::time::Duration;

use shmem_core::ring::OnRestart;
use shmem_core::snapshot::{Reader, Writer};
use shmem_core::{Incarnation, Window};
use shmem_registry::{Process, Segment};
use shmem_sync::EventBell;
use shmem_sync::litmus::Verdict;

use super::bells::RECORDS;
use super::ends::{Found, Membership, Receiver, Release, Sender};
use super::idle_task::Idle;
use super::kernel::{KernelReceiver, KernelSegments};
use super::memory::MemoryTest;
use super::record_wait::{BackOff, Nudge, Side};
use super::{COMMAND_BODY, LinkError, Received, Segments, Sent, Waiting};
use crate::MONITOR;
use crate::message::{Command, Event, HEADER_LEN};
use crate::settings::Settings;
use crate::stats::Stats;

/// KMON's end.
pub struct MonitorLink<'m> {
    sender: CommandSender<'m>,
    receiver: EventReceiver<'m>,
    kernel: Option<KernelReceiver<'m>>,
}

impl<'m> MonitorLink<'m> {
    /// The minimum length of a region.
    pub const REGION_LEN: usize = 2 << 20;

    /// Formats `memory` as the region of the instance that `settings` names.
    ///
    /// # Errors
    ///
    /// [`LinkError`] if the memory is too short.
    pub fn create(
        memory: Window<'m>,
        settings: &Settings,
        waiting: Waiting,
    ) -> Result<Self, LinkError> {
        let member = Membership::create(memory, MONITOR, settings.partition, waiting)?;
        let segments = Segments::find(|request| member.open_or_create(request))?;
        let kernel = KernelSegments::find(|request| member.open_or_create(request))?;
        let wake_method = &member.wake_method;
        wake_method.find_number(|request| member.open_or_create(request))?;
        let trial = MemoryTest::new(wake_method.waiting(), |request| {
            member.open_or_create(request)
        })?;
        // Last: an instance that finds the settings finds everything else.
        write_settings(&segments.settings, settings)?;
        Self::from_parts(&segments, kernel, member, trial)
    }

    /// Attaches as KMON's next incarnation to a region that an earlier one formatted. Records that
    /// were not released in the result ring are received again. Commands that the instance has not
    /// received never run. `settings` apply from the instance's next incarnation on.
    ///
    /// # Errors
    /// [`LinkError`] if it is not such a region, or KMON's earlier incarnation is still alive.
    pub fn attach(
        memory: Window<'m>,
        settings: &Settings,
        waiting: Waiting,
    ) -> Result<Self, LinkError> {
        let found = Found::attach(memory)?;
        let registry = found.registry;
        let segments = Segments::find(|request| registry.open(request))?;
        let kernel = KernelSegments::find(|request| registry.open(request))?;
        let member = Membership::join(found, MONITOR, settings.partition, waiting)?;
        let wake_method = &member.wake_method;
        wake_method.find_number(|request| registry.open(request))?;
        let trial = MemoryTest::new(wake_method.waiting(), |request| registry.open(request))?;
        write_settings(&segments.settings, settings)?;
        Self::from_parts(&segments, kernel, member, trial)
    }

    fn from_parts(
        segments: &Segments<'m>,
        kernel: Option<KernelSegments<'m>>,
        member: Membership<'m>,
        trial: MemoryTest<'m>,
    ) -> Result<Self, LinkError> {
        let wake_method = &member.wake_method;
        let bell = match wake_method.own_bell(RECORDS) {
            Some(bell) => bell,
            None => Arc::new(EventBell::new().map_err(|e| LinkError::new("a bell", e))?),
        };
        let nudge = Nudge::new(bell);
        let sender = member.sender(&segments.command)?;
        let back_off = BackOff::new(Side::Monitor, Some(nudge.clone()));
        let receiver = member.receiver(&segments.result, OnRestart::Keep, back_off)?;
        let kernel = kernel.map(|segments| segments.receiver(&member));
        wake_method.store_number();
        // So that a sleeping instance greets this incarnation now.
        wake_method.waiting().wake_peer();
        Ok(Self {
            kernel: kernel.transpose()?,
            sender: CommandSender { end: sender, nudge },
            receiver: EventReceiver {
                end: receiver,
                member,
                trial,
                stats: Reader::attach(segments.stats.window())
                    .map_err(|e| LinkError::new("kmon.stats", e))?,
            },
        })
    }

    /// Returns KMON's incarnation in this region.
    pub fn incarnation(&self) -> Incarnation {
        self.receiver.member.incarnation()
    }

    /// Splits the link into parts for separate threads. The last is `None` if the KMON that
    /// formatted the region made no log ring.
    pub fn split(
        self,
    ) -> (
        CommandSender<'m>,
        EventReceiver<'m>,
        Option<KernelReceiver<'m>>,
    ) {
        (self.sender, self.receiver, self.kernel)
    }
}

fn write_settings(segment: &Segment<'_>, settings: &Settings) -> Result<(), LinkError> {
    let mut bytes = Vec::new();
    settings.encode(&mut bytes);
    let mut writer =
        Writer::attach(segment.window()).map_err(|e| LinkError::new("kmon.settings", e))?;
    let written = writer.write(&bytes);
    written.map_err(|e| LinkError::new("kmon.settings", e))
}

/// The sending half of KMON.
pub struct CommandSender<'m> {
    end: Sender<'m>,
    /// Makes the receiving half check for the answer.
    nudge: Nudge,
}

impl CommandSender<'_> {
    /// The most bytes that one [`Command::Input`] can carry.
    pub const MAX_BODY: usize = COMMAND_BODY;

    /// Sends `command` to incarnation number `incarnation` of the instance, and wakes it. Any other
    /// incarnation discards the command.
    ///
    /// # Errors
    ///
    /// [`LinkError`] if the instance broke the ring, or another KMON has attached in place of this
    /// one.
    pub fn send(&mut self, command: &Command<'_>, incarnation: u32) -> Result<Sent, LinkError> {
        command.encode(incarnation, &mut self.end.record);
        let sent = self.end.send();
        if sent == Ok(Sent::Whole) {
            self.nudge.send();
        }
        sent
    }

    /// Waits until half of the ring is free, at most `timeout`: a sender that has many records to
    /// send is woken less often.
    pub fn wait_for_batch(&mut self, timeout: Duration) {
        let longest = self.end.max_len();
        self.end.wait_for_space(longest, timeout);
    }

    /// Waits until the longest input fits, at most `timeout`.
    pub fn wait_for_space(&mut self, timeout: Duration) {
        self.end
            .wait_for_space(HEADER_LEN + Self::MAX_BODY, timeout);
    }
}

/// The receiving half of KMON.
pub struct EventReceiver<'m> {
    end: Receiver<'m>,
    member: Membership<'m>,
    trial: MemoryTest<'m>,
    stats: Reader<'m>,
}

impl EventReceiver<'_> {
    /// Waits up to `timeout` for an event, then passes a bounded number of available events to
    /// `handle`, each with its position; releases each one afterwards. Returns the number of
    /// records. Skips records that are not events.
    ///
    /// # Errors
    ///
    /// [`LinkError`] if the instance broke the ring, or another KMON has attached in place of this
    /// one.
    pub fn receive(
        &mut self,
        timeout: Duration,
        mut handle: impl FnMut(u32, Received<Event<'_>>),
    ) -> Result<usize, LinkError> {
        let after = Release::After;
        self.end.receive(timeout, &mut Idle, after, |at, received| {
            match received.map(Event::decode) {
                Received::Message(Ok(event)) => handle(at, Received::Message(event)),
                Received::Message(Err(_)) => {}
                Received::Restarted => handle(at, Received::Restarted),
            }
        })
    }

    /// Skips the next record if it is the one at `position`: an earlier incarnation has handled it,
    /// but died before it released it.
    pub fn skip(&mut self, position: u32) {
        self.end.skip(position);
    }

    /// Returns the latest statistics; `None` if there are none, or if they cannot be read.
    pub fn stats(&mut self) -> Option<Stats> {
        let mut bytes = vec![0; Stats::MAX_LEN];
        let len = self.stats.read(&mut bytes).ok()?;
        Stats::decode(&bytes[..len]).ok()
    }

    /// Tests with the instance what works across the region's memory, in at most 50 ms. Returns
    /// `None` if both run on one kernel, or if the region has no segment for the test.
    pub fn try_memory(&mut self) -> Option<Verdict> {
        self.trial.ask()
    }

    /// Stores the heartbeat, which shows the instance that KMON is alive. Call it at least every
    /// second.
    ///
    /// # Errors
    /// [`LinkError::Evicted`] if another KMON has attached in place of this one; then the region
    /// must not be used any more.
    pub fn beat(&mut self) -> Result<(), LinkError> {
        self.member.beat()
    }

    /// Returns the instance's heartbeat; 0 before it has attached.
    pub fn peer_beat(&self) -> u32 {
        self.member.peer_beat()
    }

    /// Returns the number of the instance's incarnation that attached last; 0 before the first.
    pub fn peer_incarnation(&self) -> u32 {
        let peer = self.member.peer().and_then(|peer| peer.incarnation);
        peer.map_or(0, Incarnation::number)
    }

    /// Returns the instance's process, as numbered by its kernel.
    pub fn peer_process(&self) -> Process {
        self.member
            .peer()
            .map_or(Process::UNKNOWN, |peer| peer.process)
    }
}
