//! Saying who is there, who comes and goes, and who rings.

use std::io;

use anyhow::{Result, bail};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::say;
use crate::client::{Change, Client};

/// Watches until standard input ends.
pub(super) fn run(mut client: Client, vectors: u16) -> Result<()> {
    let len = client.memory().window().len();
    say(format_args!(
        "we are peer {}; memory {len} bytes",
        client.id()
    ))?;
    for peer in client.peers() {
        say(format_args!("peer {peer} is there"))?;
    }
    loop {
        let (ended, rung) = wait(&client, vectors)?;
        for vector in rung {
            say(format_args!("vector {vector} was rung"))?;
        }
        for change in client.update() {
            match change {
                Change::Joined(peer) => say(format_args!("peer {peer} joined"))?,
                Change::Left(peer) => say(format_args!("peer {peer} left"))?,
                Change::Lost(error) => bail!(error),
            }
        }
        if ended {
            return Ok(());
        }
    }
}

/// Waits for news; whether standard input has ended, and which vectors were rung.
fn wait(client: &Client, vectors: u16) -> Result<(bool, Vec<u16>)> {
    let input = io::stdin();
    let bells = || (0..vectors).filter_map(|vector| client.own(vector));
    let mut events = vec![
        PollFd::new(&input, PollFlags::IN),
        PollFd::new(client, PollFlags::IN),
    ];
    events.extend(bells().map(|bell| PollFd::new(bell, PollFlags::IN)));
    while let Err(error) = poll(&mut events, None) {
        if error != Errno::INTR {
            return Err(error.into());
        }
    }
    let ready: Vec<_> = events.iter().map(|e| !e.revents().is_empty()).collect();
    let ended = ready[0] && rustix::io::read(&input, &mut [0; 64]).unwrap_or(0) == 0;
    let mut rung = Vec::new();
    for (vector, bell) in bells().enumerate() {
        if ready[2 + vector] && rustix::io::read(bell, &mut [0; 8]).is_ok() {
            rung.push(u16::try_from(vector)?);
        }
    }
    Ok((ended, rung))
}
