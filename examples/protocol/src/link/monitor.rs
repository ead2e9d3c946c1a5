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
use super::look::{BackOff, Nudge, Side};
use super::memory::Trial;
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
    /// Bytes a region must have.
    pub const REGION_LEN: usize = 416 << 10;

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
        let way = &member.way;
        way.find_number(|request| member.open_or_create(request))?;
        let trial = Trial::new(way.waiting(), |request| member.open_or_create(request))?;
        // Last: an instance that sees them finds all else.
        tell(&segments.settings, settings)?;
        Self::over(&segments, kernel, member, trial)
    }

    /// Attaches as KMON's next incarnation to a region that an earlier one formatted.
    /// What was not released in the result ring is there again; what was not
    /// taken from the command ring never runs. `settings` hold from the
    /// instance's next incarnation on.
    ///
    /// # Errors
    ///
    /// [`LinkError`] if it is no such region, or KMON's earlier incarnation is still alive.
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
        let way = &member.way;
        way.find_number(|request| registry.open(request))?;
        let trial = Trial::new(way.waiting(), |request| registry.open(request))?;
        tell(&segments.settings, settings)?;
        Self::over(&segments, kernel, member, trial)
    }

    fn over(
        segments: &Segments<'m>,
        kernel: Option<KernelSegments<'m>>,
        member: Membership<'m>,
        trial: Trial<'m>,
    ) -> Result<Self, LinkError> {
        let way = &member.way;
        let bell = match way.own_bell(RECORDS) {
            Some(bell) => bell,
            None => Arc::new(EventBell::new().map_err(|e| LinkError::new("a bell", e))?),
        };
        let nudge = Nudge::new(bell);
        let sender = member.sender(&segments.command)?;
        let back_off = BackOff::new(Side::Monitor, Some(nudge.clone()));
        let receiver = member.receiver(&segments.result, OnRestart::Keep, back_off)?;
        let kernel = kernel.map(|segments| segments.receiver(&member));
        way.say_number();
        // So that an instance that sleeps greets this incarnation now.
        way.waiting().disturb();
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

    /// Which of KMON's incarnations in this region it is.
    pub fn incarnation(&self) -> Incarnation {
        self.receiver.member.incarnation()
    }

    /// The parts, for a thread each; the last is missing where the KMON that
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

fn tell(segment: &Segment<'_>, settings: &Settings) -> Result<(), LinkError> {
    let mut bytes = Vec::new();
    settings.encode(&mut bytes);
    let mut writer =
        Writer::attach(segment.window()).map_err(|e| LinkError::new("kmon.settings", e))?;
    let written = writer.write(&bytes);
    written.map_err(|e| LinkError::new("kmon.settings", e))
}

/// KMON's half that sends.
pub struct CommandSender<'m> {
    end: Sender<'m>,
    /// Lets the half that receives look for the answer.
    nudge: Nudge,
}

impl CommandSender<'_> {
    /// Bytes one [`Command::Input`] can carry.
    pub const MAX_BODY: usize = COMMAND_BODY;

    /// Sends `command`, which is for incarnation number `incarnation` of the instance and
    /// discarded by any other, and wakes the instance.
    ///
    /// # Errors
    ///
    /// [`LinkError`] if the instance broke the ring, or another KMON has it.
    pub fn send(&mut self, command: &Command<'_>, incarnation: u32) -> Result<Sent, LinkError> {
        command.encode(incarnation, &mut self.end.record);
        let sent = self.end.send();
        if sent == Ok(Sent::Whole) {
            self.nudge.give();
        }
        sent
    }

    /// Waits until the longest input fits, at most `timeout`.
    pub fn wait_for_space(&mut self, timeout: Duration) {
        self.end
            .wait_for_space(HEADER_LEN + Self::MAX_BODY, timeout);
    }
}

/// KMON's half that receives.
pub struct EventReceiver<'m> {
    end: Receiver<'m>,
    member: Membership<'m>,
    trial: Trial<'m>,
    stats: Reader<'m>,
}

impl EventReceiver<'_> {
    /// Waits up to `timeout` for an event, then hands what is there to
    /// `handle`, a bounded number, each with its position and released behind
    /// it. Returns how many records there were; those that are no event are skipped.
    ///
    /// # Errors
    ///
    /// [`LinkError`] if the instance broke the ring, or another KMON has it.
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

    /// Passes over the next record if it is the one at `position`: an earlier
    /// incarnation has handled it, and died before it released it.
    pub fn skip(&mut self, position: u32) {
        self.end.skip(position);
    }

    /// The latest statistics; `None` if there are none, or none that can be read.
    pub fn stats(&mut self) -> Option<Stats> {
        let mut bytes = vec![0; Stats::MAX_LEN];
        let len = self.stats.read(&mut bytes).ok()?;
        Stats::decode(&bytes[..len]).ok()
    }

    /// Finds out with the instance what works across the region's memory, in 50 ms at
    /// most; `None` where both are of one kernel, or the region is an earlier KMON's.
    pub fn try_memory(&mut self) -> Option<Verdict> {
        self.trial.ask()
    }

    /// Shows the instance that KMON lives; at least every second.
    ///
    /// # Errors
    ///
    /// [`LinkError::Evicted`]: another KMON has the region; nothing of it is to be used any more.
    pub fn beat(&mut self) -> Result<(), LinkError> {
        self.member.beat()
    }

    /// The instance's heartbeat; 0 before it attached.
    pub fn peer_beat(&self) -> u32 {
        self.member.peer_beat()
    }

    /// The instance's process, as its kernel knows it.
    pub fn peer_process(&self) -> Process {
        self.member
            .peer()
            .map_or(Process::UNKNOWN, |peer| peer.process)
    }
}
