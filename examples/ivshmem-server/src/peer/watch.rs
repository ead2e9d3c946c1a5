//! Reports peers that exist, join and leave, and interrupts.

use std::os::fd::BorrowedFd;

use anyhow::{Result, bail};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::party::Party;
use super::print::print_line;
use crate::client::Change;

/// Watches until `input` ends.
pub(super) fn run(mut party: impl Party, input: BorrowedFd<'_>) -> Result<()> {
    let len = party.memory().window().len();
    print_line(format_args!(
        "we are peer {}; memory {len} bytes",
        party.id()
    ))?;
    for peer in party.peers() {
        print_line(format_args!("peer {peer} exists"))?;
    }
    loop {
        let (ended, rung) = wait(&party, input)?;
        for vector in rung {
            print_line(format_args!("vector {vector} was rung"))?;
        }
        for change in party.update() {
            match change {
                Change::Joined(peer) => print_line(format_args!("peer {peer} joined"))?,
                Change::Left(peer) => print_line(format_args!("peer {peer} left"))?,
                Change::Lost(error) => bail!(error),
            }
        }
        if ended {
            return Ok(());
        }
    }
}

/// Waits for an event. Returns whether `input` has ended, and the vectors that were rung.
fn wait(party: &impl Party, input: BorrowedFd<'_>) -> Result<(bool, Vec<u16>)> {
    let bells = || (0..=u16::MAX).map_while(|vector| party.own(vector));
    let mut events = vec![PollFd::new(&input, PollFlags::IN)];
    events.extend(bells().map(|bell| PollFd::new(bell, PollFlags::IN)));
    let updates = party.update_fd();
    events.extend(updates.iter().map(|fd| PollFd::new(fd, PollFlags::IN)));
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
