//! Numbered records in one direction; the numbers continue over all incarnations of both ends.
//!
//! Each end notes the next number in the region: the sender after a push, the receiver before
//! it releases the record. So if one of them dies, the other sees no gap. It sees a number
//! twice only directly after a restart.

use anyhow::{Context, Result};
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::ring::{Consumer, OnRestart, PopError, PushError, Ring};
use shmem_core::wait::{Pause, Wait};

use crate::area;
use crate::party::Party;
use crate::report::Event;
use crate::stop::Stop;

/// The longest record; the length of a record depends on its number.
const LONGEST: usize = 64;
const NUMBER: usize = size_of::<u32>();

/// Returns the record with this number.
fn record(number: u32) -> Vec<u8> {
    let len = NUMBER + number as usize % (LONGEST - NUMBER);
    let mut bytes = vec![number as u8; len];
    bytes[..NUMBER].copy_from_slice(&number.to_le_bytes());
    bytes
}

pub(crate) fn send(party: &Party<'_>, to: u8, records: u32) -> Result<()> {
    let from = party.number();
    let ring = Ring::attach(party.area.open(area::ring(from, to))?)?;
    let mut producer = ring.claim_producer(party.incarnation)?;
    let next = party.notes.sent(from, to);
    // Loaded once: an evicted sender that goes on may still store its own number.
    let mut number = next.load(Relaxed);
    for _ in 0..records {
        let mut wait = party.wait();
        loop {
            match producer.push(&record(number)) {
                Ok(()) => break,
                Err(PushError::Restarted) => party.report.say(&Event::Restarted),
                Err(error @ PushError::Evicted) => {
                    return Err(Stop::Evicted(error.to_string()).into());
                }
                Err(PushError::Full) => pause(party, &mut wait, "the ring stays full")?,
                Err(error) => return Err(error).context("cannot send"),
            }
        }
        number = number.wrapping_add(1);
        next.store(number, Relaxed);
    }
    party.done(records);
    Ok(())
}

pub(crate) fn receive(party: &Party<'_>, from: u8, records: u32) -> Result<()> {
    let to = party.number();
    let ring = Ring::attach(party.area.open(area::ring(from, to))?)?;
    let mut consumer = ring.claim_consumer(party.incarnation, OnRestart::Keep)?;
    let next = party.notes.received(from, to);
    // The last receiver may have died after it noted a record and before it released it.
    let mut again = true;
    let mut left = records;
    let mut expected = next.load(Relaxed);
    while left != 0 {
        let bytes = one(party, &mut consumer, &mut again)?;
        if bytes == record(expected) {
            expected = expected.wrapping_add(1);
            next.store(expected, Relaxed);
            left -= 1;
        } else if !(again && bytes == record(expected.wrapping_sub(1))) {
            let wrong = format!("record {bytes:?} came where {expected} was next");
            return Err(Stop::Wrong(wrong).into());
        }
        again = false;
        let released = consumer.release();
        released.map_err(|error| Stop::Evicted(error.to_string()))?;
    }
    party.done(records);
    Ok(())
}

/// Returns the next record, without releasing it. Sets `again` at a restart.
fn one(party: &Party<'_>, consumer: &mut Consumer<'_>, again: &mut bool) -> Result<Vec<u8>> {
    let mut wait = party.wait();
    loop {
        match consumer.peek() {
            Ok(found) => {
                let mut bytes = [0; LONGEST];
                let len = found.read(0, &mut bytes);
                return Ok(bytes[..len].to_vec());
            }
            Err(error @ PopError::Evicted) => {
                return Err(Stop::Evicted(error.to_string()).into());
            }
            Err(PopError::Restarted) => {
                *again = true;
                party.report.say(&Event::Restarted);
            }
            Err(PopError::Empty) => pause(party, &mut wait, "the ring stays empty")?,
            Err(error) => return Err(error).context("cannot receive"),
        }
    }
}

fn pause(party: &Party<'_>, wait: &mut impl Wait, what: &'static str) -> Result<()> {
    party.check()?;
    match wait.pause() {
        Pause::TimedOut => Err(Stop::TimedOut(what.to_owned()).into()),
        _ => Ok(()),
    }
}
