//! Messages in both directions over a channel whose client, server or both die.
//!
//! - **M1** A server does not receive a command that was acknowledged before it opened its
//!   end, unless it is the first to open it.
//! - **M2** Messages arrive complete, in order, and none twice.
//! - **M3** `discarded` counts the messages that were acknowledged and not received.
//! - **M4** A restart is reported once to an end that knew the earlier incarnation.

use std::mem::offset_of;

use fastrand::Rng;
use shmem_channel::{Error, Received, Session};
use shmem_core::layout::RingControl;
use shmem_core::primitive::Ordering::Relaxed;

use super::ends::{self, CLIENT, COMMANDS, End, Openings, PARTITIONS, RESULTS, SERVER};
use super::host;
use super::journal::Journal;
use super::known_peer::KnownPeer;
use super::reception::Reception;
use crate::kit::{
    Actor, Cast, Incarnation, Join, Outcome, Party, Role, Scenario, Scene, Seat, Step, boxed,
    ensure, unexpected,
};

const SEND: usize = 0;
const RECEIVE: usize = 1;
const OPS: &[&str] = &["send", "receive"];

pub(crate) const CHANNEL: Scenario = Scenario {
    name: "channel",
    about: "client and server send each other messages; either end dies, or both",
    roles: &[
        role("client", |seat| boxed(Messenger::join(seat))),
        role("server", |seat| boxed(Messenger::join(seat))),
    ],
    casts: &[
        Cast::new(&[CLIENT], &[SERVER]),
        Cast::new(&[SERVER], &[CLIENT]),
        Cast::new(&[CLIENT, SERVER], &[]),
    ],
    shapes: &[128, 1024],
    stall_shapes: &[128],
    layout: ends::layout,
    starts: |shape| if shape == 128 { 8 } else { 1 },
    prepare,
    audits_each_death: false,
    audit,
    ..Scenario::BASE
};

const fn role(name: &'static str, join: Join) -> Role {
    Role {
        // Receiving first makes room for others.
        recovery: &[RECEIVE, SEND],
        claimed: &[SEND, RECEIVE],
        // Empty rings: a late step may damage unread messages.
        before_return: &[RECEIVE; 16],
        ..Role::exclusive(name, OPS, join)
    }
}

/// Leaves the object new, or as some incarnations of both ends left it.
fn prepare(scene: &Scene<'_>, start: u32) -> Outcome {
    let mut rng = Rng::with_seed(start.into());
    if start == 7 {
        drop(scene.join(CLIENT, Incarnation::first(5))?);
        for ring in [COMMANDS, RESULTS].map(|name| ends::ring(&scene.memory, name)) {
            // The epochs wrap soon.
            let epoch = ring.map(|ring| ring.word(offset_of!(RingControl, consumer_epoch)));
            epoch.inspect(|epoch| epoch.store(0xfffd, Relaxed));
        }
    }
    for number in 1..=start / 3 {
        let incarnation = |partition| {
            Incarnation::new(partition, number).unwrap_or(Incarnation::first(partition))
        };
        let mut client = scene.join(CLIENT, incarnation(6))?;
        let mut server = scene.join(SERVER, incarnation(7))?;
        for round in 0..start % 4 + number {
            client.perform(SEND, &mut rng)?;
            server.perform(SEND, &mut rng)?;
            if round % 2 == 0 {
                client.perform(RECEIVE, &mut rng)?;
                server.perform(RECEIVE, &mut rng)?;
            }
        }
    }
    Ok(())
}

struct Messenger<'m> {
    end: End<'m>,
    sent: Journal<'m>,
    reception: Reception<'m>,
    openings: Openings<'m>,
    peer: KnownPeer,
    /// Declared last: it must be dropped after the end that was opened in it.
    _session: Session<'m>,
}

impl<'m> Messenger<'m> {
    fn join(seat: Seat<'m>) -> Outcome<Self> {
        let (memory, role) = (seat.memory, seat.role);
        let session = host::join(seat, PARTITIONS[role])?;
        let (reception, end) = Reception::begin(memory.ledger, role, role == CLIENT, || {
            let end = match role {
                CLIENT => End::Client(ends::client(&session, &memory)?),
                _ => End::Server(ends::server(&session, &memory)?),
            };
            let discarded = end.discarded();
            Ok((end, discarded))
        })?;
        Ok(Self {
            end,
            sent: ends::journal(memory.ledger, role),
            reception,
            openings: Openings::new(memory.ledger, 1 - role),
            peer: KnownPeer::default(),
            _session: session,
        })
    }

    fn send(&mut self, rng: &mut Rng) -> Outcome<Step> {
        let opened = self.openings.opened.get();
        let (tag, message) = self
            .sent
            .next(self.reception.number(), self.end.max_len(), rng);
        match self.end.send(&message) {
            Ok(()) => {
                self.sent.acknowledge(tag.number);
                let begun = self.openings.begun.get();
                self.peer.sent(opened, begun).map(|()| Step::Done) // M4
            }
            // The message may have been sent.
            Err(Error::Evicted) => Err(unexpected("sending", Error::Evicted)),
            Err(error) => {
                self.sent.refuse(tag.number);
                match error {
                    Error::TimedOut | Error::PeerGone => Ok(Step::Idle),
                    Error::PeerRestarted => self.restarted(),
                    error => Err(unexpected("sending", error)),
                }
            }
        }
    }

    fn restarted(&mut self) -> Outcome<Step> {
        let begun = self.openings.begun.get();
        self.peer.restarted(begun).map(|()| Step::Idle) // M4
    }

    fn receive(&mut self) -> Outcome<Step> {
        self.reception.before();
        let mut bytes = [0; 1024];
        let received = self.end.recv(&mut bytes);
        let message = match received {
            Ok(Received::Message(len)) => bytes.get(..len),
            _ => None,
        };
        let tag = self.reception.after(message, self.end.discarded())?; // M1, M2, M3
        match (received, tag) {
            (Ok(Received::PeerRestarted), _) => self.restarted(),
            (Ok(_), Some(tag)) => self.peer.received(tag.incarnation).map(|()| Step::Done), // M4
            (Ok(_), None) | (Err(Error::TimedOut), _) => Ok(Step::Idle),
            (Err(error), _) => Err(unexpected("receiving", error)),
        }
    }
}

impl Party for Messenger<'_> {
    fn perform(&mut self, op: usize, rng: &mut Rng) -> Outcome<Step> {
        match op {
            SEND => self.send(rng),
            _ => self.receive(),
        }
    }
}

/// Empties both rings, and checks that messages pass in both directions.
fn audit<'m>(scene: &Scene<'m>, actors: &mut [&mut Actor<'m>], _: bool) -> Outcome {
    let mut rng = Rng::with_seed(0);
    // A call that reports a restart does nothing else.
    let mut idle = 0;
    while idle < 4 {
        idle += 1;
        for actor in actors.iter_mut() {
            while actor.perform(RECEIVE, &mut rng)? == Step::Done {
                idle = 0;
            }
        }
    }
    for [sender, receiver] in [[CLIENT, SERVER], [SERVER, CLIENT]] {
        let mut passed = false;
        for _ in 0..3 {
            actors[sender].perform(SEND, &mut rng)?;
            passed |= actors[receiver].perform(RECEIVE, &mut rng)? == Step::Done;
        }
        ensure(passed, || "messages do not pass any more".to_owned())?;
        while actors[receiver].perform(RECEIVE, &mut rng)? == Step::Done {}
        ends::journal(scene.memory.ledger, sender).ensure_none_left()?;
    }
    Ok(())
}
