//! Round trips of a record and an interrupt between two peers. Only one peer pings at a time.
//!
//! The pinging peer formats the memory and claims its ends of two rings. Only then it notifies
//! the other peer, which attaches. A record is a count and the number of the pinging peer; the
//! other sends it back. After the last record, `GOODBYE`, the other releases the rings.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use shmem_core::doorbell::Doorbell;
use shmem_core::primitive::AtomicU32;
use shmem_core::ring::{Consumer, OnRestart, Producer, Ring};
use shmem_core::{Incarnation, Region};
use shmem_sync::{EventBell, EventWait};

use super::party::Party;
use super::print::print_line;
use crate::client::Change;

/// Bytes of each ring.
const CAPACITY: usize = 4096;
/// The vector of the interrupts.
const VECTOR: u16 = 0;
/// Time limit of an answer, after which a peer counts as dead.
const PATIENCE: Duration = Duration::from_secs(10);

/// Time between two checks of the answering peer whether the other is alive.
const CHECK_INTERVAL: Duration = Duration::from_millis(200);
/// The count of the last record.
const GOODBYE: u32 = u32::MAX;

/// The doorbell of a peer.
struct Bell<'p, P>(&'p P, u16);

impl<P: Party> Doorbell for Bell<'_, P> {
    fn ring(&self, _: &AtomicU32) {
        self.0.ring(self.1, VECTOR);
    }
}

/// A record: a count, and the number of the pinging peer.
type Record = [u8; 8];

fn record(id: u16, count: u32) -> Record {
    let [a, b, c, d] = count.to_le_bytes();
    let [e, f] = id.to_le_bytes();
    [a, b, c, d, e, f, 0, 0]
}

/// Attaches one of the two rings in the region: 0 to the other peer, 1 back.
fn ring<'m>(region: &Region<'m>, which: usize) -> Result<Ring<'m>> {
    let len = Ring::segment_len(CAPACITY);
    let segment = region.body().sub(which * len, len);
    let segment = segment.map_err(|_| anyhow!("the memory is too short for two rings"))?;
    Ring::attach(segment).map_err(|error| anyhow!("{error}"))
}

/// Formats the memory, pings `peer`, and prints the times.
pub(super) fn ping(party: &impl Party, peer: u16, count: u32) -> Result<()> {
    ensure!(party.may_exist(peer), "peer {peer} does not exist");
    let bell = Bell(party, peer);
    let own = party.own(VECTOR).context("no vector")?;
    let region = Region::format(party.memory().window()).map_err(|e| anyhow!("{e}"))?;
    let us = Incarnation::first(1);
    let there = ring(&region, 0)?.claim_producer(us);
    let back = ring(&region, 1)?.claim_consumer(us, OnRestart::Keep);
    let mut there = there.map_err(|error| anyhow!("{error}"))?;
    let mut back = back.map_err(|error| anyhow!("{error}"))?;
    party.ring(peer, VECTOR);
    let mut times = Vec::with_capacity(count as usize);
    for n in (0..count).chain([GOODBYE]) {
        let (sent, started) = (record(party.id(), n), Instant::now());
        there.push(&sent).map_err(|error| anyhow!("{error}"))?;
        there.notify(&bell).map_err(|error| anyhow!("{error}"))?;
        let arrived = back.wait(&mut EventWait::timeout(own, PATIENCE));
        ensure!(arrived, "peer {peer} does not answer: run `answer` there");
        let mut got = Record::default();
        back.pop(&mut got).map_err(|error| anyhow!("{error}"))?;
        ensure!(got == sent, "peer {peer} answered {got:?} to {sent:?}");
        times.push(started.elapsed());
    }
    times.truncate(count as usize);
    times.sort_unstable();
    let (p50, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    print_line(format!("{count} round trips: p50 {p50:?}, p99 {p99:?}"))?;
    wait_until_released(&region, peer)
}

/// Waits until the other peer has released the rings: the next pinging peer formats the memory.
fn wait_until_released(region: &Region<'_>, peer: u16) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let (there, back) = (ring(region, 0)?, ring(region, 1)?);
    while there.consumer_owner().is_some() || back.producer_owner().is_some() {
        ensure!(
            Instant::now() < deadline,
            "peer {peer} does not release the rings"
        );
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Answers pinging peers until `input` ends.
pub(super) fn answer(mut party: impl Party, input: BorrowedFd<'_>) -> Result<()> {
    print_line(format_args!("peer {} answers", party.id()))?;
    let own = Arc::clone(party.own(VECTOR).context("no vector")?);
    let memory = Arc::clone(party.memory());
    let (mut rung, mut answered) = (false, None);
    loop {
        let patience = if rung { Duration::ZERO } else { CHECK_INTERVAL };
        if wait_for_input_end(&mut party, &own, input, patience)? {
            return Ok(());
        }
        rung |= rustix::io::read(own.as_ref(), &mut [0; 8]).is_ok();
        if !std::mem::take(&mut rung) {
            continue;
        }
        let Ok(region) = Region::attach(memory.window()) else {
            continue; // the ring did not come from a pinging peer
        };
        let us = Incarnation::first(2);
        let there = ring(&region, 0)?.claim_consumer(us, OnRestart::Keep);
        // A late ring for a generation that was already answered.
        if answered.replace(region.generation()) == Some(region.generation()) {
            continue;
        }
        if let (Ok(there), Ok(back)) = (there, ring(&region, 1)?.claim_producer(us)) {
            rung = answer_one(&mut party, input, &region, there, back)?;
        }
    }
}

/// Answers one pinging peer until it sends `GOODBYE`, or has left. Returns true if another has
/// begun.
fn answer_one(
    party: &mut impl Party,
    input: BorrowedFd<'_>,
    region: &Region<'_>,
    mut there: Consumer<'_>,
    mut back: Producer<'_>,
) -> Result<bool> {
    let own = Arc::clone(party.own(VECTOR).context("no vector")?);
    let mut got = Record::default();
    let mut pinging = None;
    loop {
        let arrived = there.wait(&mut EventWait::timeout(&own, CHECK_INTERVAL));
        // The ring of the next pinging peer may have ended this wait.
        if region.is_stale() {
            return Ok(true);
        }
        if !arrived {
            let ended = wait_for_input_end(party, &own, input, Duration::ZERO)?;
            if ended || pinging.is_some_and(|peer| !party.may_exist(peer)) {
                return Ok(false);
            }
            continue;
        }
        // A peer wrote the record: check it.
        if there.pop(&mut got) != Ok(got.len()) || back.push(&got).is_err() {
            return Ok(false);
        }
        let [a, b, c, d, e, f, _, _] = got;
        let id = u16::from_le_bytes([e, f]);
        if pinging.replace(id) != Some(id) {
            party.update();
        }
        if !party.may_exist(id) {
            return Ok(false);
        }
        let notified = back.notify(&Bell(party, id));
        notified.map_err(|error| anyhow!("{error}"))?;
        if u32::from_le_bytes([a, b, c, d]) == GOODBYE {
            return Ok(false);
        }
    }
}

/// Waits up to `patience` for a ring or an update. Returns true if `input` has ended.
fn wait_for_input_end(
    party: &mut impl Party,
    own: &EventBell,
    input: BorrowedFd<'_>,
    patience: Duration,
) -> Result<bool> {
    let timeout = Timespec {
        tv_sec: 0,
        tv_nsec: patience.subsec_nanos().into(),
    };
    let ended = {
        let mut events = vec![
            PollFd::new(&input, PollFlags::IN),
            PollFd::new(own, PollFlags::IN),
        ];
        let updates = party.update_fd();
        events.extend(updates.iter().map(|fd| PollFd::new(fd, PollFlags::IN)));
        // A signal also ends the wait.
        let polled = poll(&mut events, Some(&timeout));
        polled.is_ok() && !events[0].revents().is_empty()
    };
    for change in party.update() {
        if let Change::Lost(error) = change {
            bail!(error);
        }
    }
    Ok(ended && rustix::io::read(input, &mut [0; 64]).unwrap_or(0) == 0)
}
