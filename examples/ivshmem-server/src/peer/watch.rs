//! Saying who is there, who comes and goes, and who rings.

use std::os::fd::BorrowedFd;

use anyhow::{Result, bail};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::party::Party;
use super::say::say;
use crate::client::Change;

/// Watches until `input` ends.
pub(super) fn run(mut party: impl Party, input: BorrowedFd<'_>) -> Result<()> {
    let len = party.memory().window().len();
    say(format_args!(
        "we are peer {}; memory {len} bytes",
        party.id()
    ))?;
    for peer in party.peers() {
        say(format_args!("peer {peer} is there"))?;
    }
    loop {
        let (ended, rung) = wait(&party, input)?;
        for vector in rung {
            say(format_args!("vector {vector} was rung"))?;
        }
        for change in party.update() {
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

/// Waits for news; whether `input` has ended, and which vectors were rung.
fn wait(party: &impl Party, input: BorrowedFd<'_>) -> Result<(bool, Vec<u16>)> {
    let bells = || (0..=u16::MAX).map_while(|vector| party.own(vector));
    let mut events = vec![PollFd::new(&input, PollFlags::IN)];
    events.extend(bells().map(|bell| PollFd::new(bell, PollFlags::IN)));
    let news = party.news();
    events.extend(news.iter().map(|news| PollFd::new(news, PollFlags::IN)));
    while let Err(error) = poll(&mut events, None) {
        if error != Errno::INTR {
            return Err(error.into());
        }
    }
    let ready: Vec<_> = events.iter().map(|e| !e.revents().is_empty()).collect();
    let ended = ready[0] && rustix::io::read(input, &mut [0; 64]).unwrap_or(0) == 0;
    let mut rung = Vec::new();
    for (vector, bell) in bells().enumerate() {
        if ready[1 + vector] && rustix::io::read(bell, &mut [0; 8]).is_ok() {
            rung.push(u16::try_from(vector)?);
        }
    }
    Ok((ended, rung))
}
