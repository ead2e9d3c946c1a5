//! Our side: a region in a file, and a session in each process.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use shmem_channel::{Error, Incoming, Received, Session};
use shmem_core::ring::OnRestart;

use crate::{spin, until};

const LEN: usize = 1 << 20;
const RING: usize = 64 << 10;
const PATIENCE: Duration = Duration::from_secs(20);

fn join(place: &str) -> Result<Session<'static>> {
    until(|| match Session::join_file(place, 2) {
        Ok(session) => Ok(Some(session)),
        Err(error) if error.is_early() || matches!(error, Error::Memory(_)) => Ok(None),
        Err(error) => Err(error.into()),
    })
}

/// Calls, one after the other.
pub fn call(place: &str, count: u64) -> Result<Duration> {
    let session = Session::create_file(place, LEN, 1)?;
    let mut client = session.client("bench")?;
    let mut answer = [0; 8];
    client.call(&[0; 8], &mut answer, PATIENCE)?;
    let start = Instant::now();
    for n in 0..count {
        client.call(&n.to_le_bytes(), &mut answer, PATIENCE)?;
        ensure!(u64::from_le_bytes(answer) == n, "another call's answer");
    }
    Ok(start.elapsed())
}

pub fn serve(place: &str, count: u64) -> Result<()> {
    let session = join(place)?;
    let mut server = session.server("bench")?;
    let mut command = [0; 8];
    for _ in 0..=count {
        match server.recv(&mut command, PATIENCE)? {
            Incoming::Call { call, .. } => server.answer(call, &command, PATIENCE)?,
            other => anyhow::bail!("{other:?}"),
        }
    }
    Ok(())
}

/// A message on one ring, and its echo on another.
pub fn round_trip(place: &str, count: u64) -> Result<Duration> {
    let session = Session::create_file(place, LEN, 1)?;
    let mut receiver = session.receiver("back", RING, OnRestart::Keep)?;
    let mut sender = session.sender("there", RING)?;
    let mut buffer = [0; 8];
    sender.send(&[0; 8], PATIENCE)?;
    receiver.recv(&mut buffer, PATIENCE)?;
    let start = Instant::now();
    for n in 0..count {
        sender.try_send(&n.to_le_bytes())?;
        spin(|| Ok(receiver.try_recv(&mut buffer)?))?;
        ensure!(u64::from_le_bytes(buffer) == n, "another message");
    }
    Ok(start.elapsed())
}

pub fn echo(place: &str, count: u64) -> Result<()> {
    let session = join(place)?;
    let mut receiver = session.receiver("there", RING, OnRestart::Keep)?;
    let mut sender = session.sender("back", RING)?;
    let mut buffer = [0; 8];
    for _ in 0..=count {
        let received = spin(|| Ok(receiver.try_recv(&mut buffer)?))?;
        ensure!(received == Received::Message(8), "{received:?}");
        sender.try_send(&buffer)?;
    }
    Ok(())
}

/// Opens an existing ring by its name.
pub fn open(place: &str, count: u64) -> Result<Duration> {
    let session = Session::create_file(place, LEN, 1)?;
    drop(session.sender("ring", RING)?);
    let start = Instant::now();
    for _ in 0..count {
        drop(session.sender("ring", RING)?);
    }
    Ok(start.elapsed())
}
