//! Round trips of a record and an interrupt between two peers, of which one pings at a time.
//!
//! The one that pings formats the memory and makes both its ends of two rings; only then
//! it rings the other, which attaches. A record is a count and who pings; it comes back.
//! The last one says goodbye, upon which the other lets go of the memory.

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
use super::say::say;
use crate::client::Change;

/// Bytes of each ring.
const CAPACITY: usize = 4096;
/// The vector that is rung.
const VECTOR: u16 = 0;
/// How long a peer may take to answer before it counts as dead.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often the one that answers looks whether the other lives.
const LOOK: Duration = Duration::from_millis(200);
/// The count of the last record.
const GOODBYE: u32 = u32::MAX;

/// The doorbell of a peer, as one party rings it.
struct Bell<'p, P>(&'p P, u16);

impl<P: Party> Doorbell for Bell<'_, P> {
    fn ring(&self, _: &AtomicU32) {
        self.0.ring(self.1, VECTOR);
    }
}

/// A record: a count, and who pings.
type Ball = [u8; 8];

fn ball(id: u16, count: u32) -> Ball {
    let [a, b, c, d] = count.to_le_bytes();
    let [e, f] = id.to_le_bytes();
    [a, b, c, d, e, f, 0, 0]
}

/// Two rings in the region, there and back.
fn ring<'m>(region: &Region<'m>, which: usize) -> Result<Ring<'m>> {
    let len = Ring::segment_len(CAPACITY);
    let segment = region.body().sub(which * len, len);
    let segment = segment.map_err(|_| anyhow!("the memory is too short for two rings"))?;
    Ring::attach(segment).map_err(|error| anyhow!("{error}"))
}

/// Formats the memory, pings `peer`, and says how long it took.
pub(super) fn ping(party: &impl Party, peer: u16, count: u32) -> Result<()> {
    ensure!(party.may_know(peer), "peer {peer} is not there");
    let bell = Bell(party, peer);
    let own = party.own(VECTOR).context("no vector")?;
    let region = Region::format(party.memory().window()).map_err(|e| anyhow!("{e}"))?;
    let us = Incarnation::first(1);
    let there = ring(&region, 0)?.producer(us);
    let back = ring(&region, 1)?.consumer(us, OnRestart::Keep);
    let mut there = there.map_err(|error| anyhow!("{error}"))?;
    let mut back = back.map_err(|error| anyhow!("{error}"))?;
    party.ring(peer, VECTOR);
    let mut times = Vec::with_capacity(count as usize);
    for n in (0..count).chain([GOODBYE]) {
        let (sent, started) = (ball(party.id(), n), Instant::now());
        there.push(&sent).map_err(|error| anyhow!("{error}"))?;
        there.notify(&bell).map_err(|error| anyhow!("{error}"))?;
        let came = back.wait(&mut EventWait::timeout(own, PATIENCE));
        ensure!(came, "peer {peer} does not answer: run `answer` there");
        let mut got = Ball::default();
        back.pop(&mut got).map_err(|error| anyhow!("{error}"))?;
        ensure!(got == sent, "peer {peer} answered {got:?} to {sent:?}");
        times.push(started.elapsed());
    }
    times.truncate(count as usize);
    times.sort_unstable();
    let (p50, p99) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    say(format!("{count} round trips: p50 {p50:?}, p99 {p99:?}"))?;
    wait_until_let_go(&region, peer)
}

/// Waits until the other has let go of the memory: the next one formats it.
fn wait_until_let_go(region: &Region<'_>, peer: u16) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let (there, back) = (ring(region, 0)?, ring(region, 1)?);
    while there.consumer_owner().is_some() || back.producer_owner().is_some() {
        ensure!(Instant::now() < deadline, "peer {peer} does not let go");
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Answers those who ping, until `input` ends.
pub(super) fn answer(mut party: impl Party, input: BorrowedFd<'_>) -> Result<()> {
    say(format_args!("peer {} answers", party.id()))?;
    let own = Arc::clone(party.own(VECTOR).context("no vector")?);
    let memory = Arc::clone(party.memory());
    let (mut rung, mut played) = (false, None);
    loop {
        let patience = if rung { Duration::ZERO } else { LOOK };
        if is_over(&mut party, &own, input, patience)? {
            return Ok(());
        }
        rung |= rustix::io::read(own.as_ref(), &mut [0; 8]).is_ok();
        if !std::mem::take(&mut rung) {
            continue;
        }
        let Ok(region) = Region::attach(memory.window()) else {
            continue; // a ring that was not of one who pings
        };
        let us = Incarnation::first(2);
        let there = ring(&region, 0)?.consumer(us, OnRestart::Keep);
        // A ring that is late, of a game that is over.
        if played.replace(region.generation()) == Some(region.generation()) {
            continue;
        }
        if let (Ok(there), Ok(back)) = (there, ring(&region, 1)?.producer(us)) {
            rung = play(&mut party, input, &region, there, back)?;
        }
    }
}

/// Answers one who pings until it says goodbye, or has left; whether another has begun.
fn play(
    party: &mut impl Party,
    input: BorrowedFd<'_>,
    region: &Region<'_>,
    mut there: Consumer<'_>,
    mut back: Producer<'_>,
) -> Result<bool> {
    let own = Arc::clone(party.own(VECTOR).context("no vector")?);
    let mut got = Ball::default();
    let mut who = None;
    loop {
        let came = there.wait(&mut EventWait::timeout(&own, LOOK));
        // The ring that says so may have ended this wait.
        if region.is_stale() {
            return Ok(true);
        }
        if !came {
            let over = is_over(party, &own, input, Duration::ZERO)?;
            if over || who.is_some_and(|who| !party.may_know(who)) {
                return Ok(false);
            }
            continue;
        }
        // Whatever is in it was written by a peer.
        if there.pop(&mut got) != Ok(got.len()) || back.push(&got).is_err() {
            return Ok(false);
        }
        let [a, b, c, d, e, f, _, _] = got;
        let id = u16::from_le_bytes([e, f]);
        if who.replace(id) != Some(id) {
            party.update();
        }
        if !party.may_know(id) {
            return Ok(false);
        }
        let told = back.notify(&Bell(party, id));
        told.map_err(|error| anyhow!("{error}"))?;
        if u32::from_le_bytes([a, b, c, d]) == GOODBYE {
            return Ok(false);
        }
    }
}

/// Waits a little for a ring or news; whether `input` has ended.
fn is_over(
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
        let news = party.news();
        events.extend(news.iter().map(|news| PollFd::new(news, PollFlags::IN)));
        // A signal is a reason to look, too.
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
