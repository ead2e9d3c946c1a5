//! The log ring: the lines of an instance's kernel, from the first one on.
//!
//! A region that U-Boot's KMON formatted has no log ring; then both ends do without. The mark
//! records how much of the log was sent, so that the next incarnation of the daemon sends no line
//! twice.

use std::time::Duration;

use shmem_core::ring::{OnRestart, Ring};
use shmem_core::snapshot::{self, Reader, Writer};
use shmem_registry::{Kind, OpenError, Request, Segment};
use zerocopy::{FromBytes, IntoBytes};

use super::ends::{Membership, Receiver, Release, Sender};
use super::idle_task::Idle;
use super::record_wait::{BackOff, Side};
use super::{LinkError, Received, Sent, segment};
use crate::kernel::{KernelLine, Mark};

const KERNEL_RING: usize = 64 << 10;

/// The two segments that a region may have for the kernel's log.
pub(super) struct KernelSegments<'m> {
    log: Segment<'m>,
    mark: Segment<'m>,
}

impl<'m> KernelSegments<'m> {
    /// Finds or makes the segments. Returns `None` if `open` does not find them.
    pub(super) fn find(
        mut open: impl FnMut(&Request) -> Result<Segment<'m>, OpenError>,
    ) -> Result<Option<Self>, LinkError> {
        let log = segment(
            &mut open,
            "kmon.kernel",
            Kind::RING,
            Ring::segment_len(KERNEL_RING),
        );
        let mark_len = snapshot::segment_len(Mark::LEN);
        let mark = segment(&mut open, "kmon.kernel-mark", Kind::SNAPSHOT, mark_len);
        match (log, mark) {
            (Ok(log), Ok(mark)) => Ok(Some(Self { log, mark })),
            (Err(LinkError::Unformatted(_)), _) | (_, Err(LinkError::Unformatted(_))) => Ok(None),
            (Err(error), _) | (_, Err(error)) => Err(error),
        }
    }

    pub(super) fn sender(&self, member: &Membership<'m>) -> Result<KernelSender<'m>, LinkError> {
        let error = |e| LinkError::new("kmon.kernel-mark", e);
        Ok(KernelSender {
            end: member.sender(&self.log)?,
            last_sent: read_mark(&self.mark),
            mark: Writer::attach(self.mark.window()).map_err(error)?,
            boot: [0; 16],
        })
    }

    pub(super) fn receiver(
        &self,
        member: &Membership<'m>,
    ) -> Result<KernelReceiver<'m>, LinkError> {
        let back_off = BackOff::new(Side::Monitor, None);
        member
            .receiver(&self.log, OnRestart::Keep, back_off)
            .map(KernelReceiver)
    }
}

/// Reads the mark of an earlier incarnation; `None` if it cannot be read. Then the log is sent from
/// its start.
fn read_mark(segment: &Segment<'_>) -> Option<Mark> {
    let mut bytes = [0; Mark::LEN];
    let len = Reader::attach(segment.window())
        .ok()?
        .read(&mut bytes)
        .ok()?;
    Mark::read_from_bytes(&bytes[..len]).ok()
}

/// The part of an instance that sends its kernel's log.
pub struct KernelSender<'m> {
    end: Sender<'m>,
    mark: Writer<'m>,
    last_sent: Option<Mark>,
    boot: [u8; 16],
}

impl KernelSender<'_> {
    /// Sets the boot of the kernel that the lines are from. Returns the number of the first line
    /// that no incarnation has sent in this region.
    pub fn resume(&mut self, boot: [u8; 16]) -> u64 {
        self.boot = boot;
        let same_boot = self.last_sent.filter(|mark| mark.boot == boot);
        same_boot.map_or(0, |mark| mark.next())
    }

    /// Sends `line` to the current incarnation of KMON and wakes it. Returns `false` if there is no
    /// room now.
    ///
    /// # Errors
    ///
    /// [`LinkError`] if KMON broke the ring, or another process has attached in place of this one.
    pub fn send(&mut self, line: &KernelLine<'_>) -> Result<bool, LinkError> {
        line.encode(&mut self.end.record);
        let sent = match self.end.send()? {
            Sent::Restarted => self.end.send()?,
            sent => sent,
        };
        if sent != Sent::Whole {
            return Ok(false);
        }
        let mark = Mark::new(self.boot, line.sequence.saturating_add(1));
        let written = self.mark.write(mark.as_bytes());
        written.expect("the segment has room for a mark");
        self.last_sent = Some(mark);
        Ok(true)
    }
}

/// The part of KMON that receives an instance's kernel lines.
pub struct KernelReceiver<'m>(Receiver<'m>);

impl KernelReceiver<'_> {
    /// Waits up to `timeout` for a line, then passes a bounded number of available lines to
    /// `handle`, each with its position; releases each one afterwards. Returns the number of
    /// records. Skips records that are not lines.
    ///
    /// # Errors
    ///
    /// [`LinkError`] if the instance broke the ring, or another KMON has attached in place of this
    /// one.
    pub fn receive(
        &mut self,
        timeout: Duration,
        mut handle: impl FnMut(u32, Received<KernelLine<'_>>),
    ) -> Result<usize, LinkError> {
        let after = Release::After;
        self.0.receive(timeout, &mut Idle, after, |at, received| {
            match received.map(KernelLine::decode) {
                Received::Message(Ok(line)) => handle(at, Received::Message(line)),
                Received::Message(Err(_)) => {}
                Received::Restarted => handle(at, Received::Restarted),
            }
        })
    }

    /// Skips the next record if it is the one at `position`: an earlier incarnation has handled it,
    /// but died before it released it.
    pub fn skip(&mut self, position: u32) {
        self.0.skip(position);
    }
}
