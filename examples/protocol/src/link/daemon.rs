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
use super::look::{BackOff, Side};
use super::memory::Trial;
use super::{LinkError, Received, Segments, Sent, Waiting};
use crate::MONITOR;
use crate::message::{Command, EVENT_BODY, Event, HEADER_LEN};
use crate::settings::Settings;
use crate::stats::Stats;

/// An instance's end.
pub struct DaemonLink<'m> {
    settings: Settings,
    sender: EventSender<'m>,
    receiver: CommandReceiver<'m>,
    stats: StatsWriter<'m>,
    kernel: Option<KernelSender<'m>>,
}

impl<'m> DaemonLink<'m> {
    /// Attaches to the region that KMON formatted in `memory`, as the instance's
    /// next incarnation: at once where the earlier one left or its process is gone, and
    /// where only its heartbeat tells, when that has stood still for 3 s.
    ///
    /// # Errors
    ///
    /// [`LinkError::Unformatted`] if KMON has still to format it; another if it is
    /// no such region, or the earlier incarnation is still alive after 4 s.
    pub fn attach(memory: Window<'m>, waiting: Waiting) -> Result<Self, LinkError> {
        let attached = Self::join(memory, waiting);
        // A region that KMON began to format meanwhile is whatever it is.
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
        // After the settings, which KMON tells last: what is missing now was never made.
        let kernel = KernelSegments::find(|request| registry.open(request))?;
        let member = Membership::join(found, settings.partition, MONITOR, waiting)?;
        let member = Arc::new(member);
        member.way.find_number(|request| registry.open(request))?;
        let trial = Trial::new(member.way.waiting(), |request| registry.open(request))?;
        let kernel = kernel.map(|segments| segments.sender(&member));
        let back_off = BackOff::new(Side::Instance, None);
        let receiver = member.receiver(&segments.command, OnRestart::Discard, back_off)?;
        let sender = member.sender(&segments.result)?;
        Ok(Self {
            kernel: kernel.transpose()?,
            sender: EventSender { end: sender },
            receiver: CommandReceiver {
                told: receiver.discarded(),
                end: receiver,
                strays: 0,
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

    /// What KMON told this instance about itself.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Which of the instance's incarnations it is.
    pub fn incarnation(&self) -> Incarnation {
        self.receiver.member.incarnation()
    }

    /// The parts, for a thread each; the last is missing where KMON made no log ring.
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
        .map_err(|e| LinkError::due(e == ReadError::Empty, "kmon.settings", e))?;
    Settings::decode(&bytes[..len]).map_err(|e| LinkError::new("kmon.settings", e))
}

/// An instance's half that sends.
pub struct EventSender<'m> {
    end: Sender<'m>,
}

impl EventSender<'_> {
    /// Bytes one event can carry.
    pub const MAX_BODY: usize = EVENT_BODY;

    /// Sends `event`, to whichever incarnation of KMON, and wakes it; `false` if there
    /// is no room now.
    ///
    /// # Errors
    ///
    /// [`LinkError`] if KMON broke the ring, or another process has this instance's number.
    pub fn send(&mut self, event: &Event<'_>) -> Result<bool, LinkError> {
        event.encode(&mut self.end.record);
        // Events are true whoever reads them. A KMON that restarts twice
        // meanwhile gets this one with the next attempt.
        let mut sent = self.end.send()?;
        if sent == Sent::Restarted {
            sent = self.end.send()?;
        }
        Ok(sent == Sent::Whole)
    }

    /// Waits until the longest event fits, at most `timeout`.
    pub fn wait_for_space(&mut self, timeout: Duration) {
        self.end
            .wait_for_space(HEADER_LEN + Self::MAX_BODY, timeout);
    }
}

/// An instance's half that receives.
pub struct CommandReceiver<'m> {
    end: Receiver<'m>,
    member: Arc<Membership<'m>>,
    trial: Trial<'m>,
    /// Commands for another incarnation that the ring could not tell from ours.
    strays: u32,
    /// Discarded commands that were told.
    told: u32,
}

impl CommandReceiver<'_> {
    /// Waits up to `timeout` for a command, then hands what is there to
    /// `handle`, a bounded number, each released before. Returns how many
    /// records there were; those that are no command are skipped, those that
    /// are not for this incarnation are discarded.
    ///
    /// # Errors
    ///
    /// [`LinkError`] if KMON broke the ring, or another process has this instance's number.
    pub fn receive(
        &mut self,
        timeout: Duration,
        handle: impl FnMut(Received<Command<'_>>),
    ) -> Result<usize, LinkError> {
        self.receive_beside(&mut Idle, timeout, handle)
    }

    /// The same, attending to `idle_task` while it waits, unless that is for a futex.
    ///
    /// # Errors
    ///
    /// Those of [`CommandReceiver::receive`].
    pub fn receive_beside(
        &mut self,
        idle_task: &mut dyn IdleTask,
        timeout: Duration,
        mut handle: impl FnMut(Received<Command<'_>>),
    ) -> Result<usize, LinkError> {
        let (before, strays) = (Release::Before, &mut self.strays);
        let incarnation = self.member.incarnation().number();
        self.end.receive(timeout, idle_task, before, |_, received| {
            match received.map(Command::decode) {
                Received::Message(Ok((meant_for, _))) if meant_for != incarnation as u16 => {
                    *strays = strays.wrapping_add(1);
                }
                Received::Message(Ok((_, command))) => handle(Received::Message(command)),
                Received::Message(Err(_)) => {}
                Received::Restarted => handle(Received::Restarted),
            }
        })
    }

    /// Whether KMON interrupts this instance now: otherwise it has to look.
    pub fn is_rung(&self) -> bool {
        self.end.is_rung()
    }

    /// Commands discarded since the last call.
    pub fn take_discarded(&mut self) -> u32 {
        let now = self.end.discarded().wrapping_add(self.strays);
        now.wrapping_sub(std::mem::replace(&mut self.told, now))
    }

    /// Whether KMON may ask what works across the region's memory.
    pub fn may_try_memory(&self) -> bool {
        self.trial.is_due()
    }

    /// Finds out with KMON what works across the region's memory, in 50 ms at most, if it
    /// asks for that. To be called whenever [`CommandReceiver::receive`] has returned.
    pub fn try_memory(&mut self) -> Option<Verdict> {
        self.trial.answer()
    }

    /// Shows KMON that the instance incarnations; at least every second.
    ///
    /// # Errors
    ///
    /// [`LinkError::Evicted`]: another process has this instance's number;
    /// nothing of the region is to be used any more.
    pub fn beat(&mut self) -> Result<(), LinkError> {
        self.member.beat()
    }

    /// KMON's heartbeat.
    pub fn peer_beat(&self) -> u32 {
        self.member.peer_beat()
    }
}

/// An instance's half that reports.
pub struct StatsWriter<'m> {
    writer: Writer<'m>,
    bytes: Vec<u8>,
    member: Arc<Membership<'m>>,
}

impl StatsWriter<'_> {
    /// Makes `stats` the latest; nothing if the region is another by now (A4).
    pub fn publish(&mut self, stats: &Stats) {
        if self.member.check().is_err() {
            return;
        }
        stats.encode(&mut self.bytes);
        let written = self.writer.write(&self.bytes);
        written.expect("the segment has room for the longest statistics");
    }
}
