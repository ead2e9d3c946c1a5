//! A server that answers calls, and sends messages that are no answers.

use std::collections::VecDeque;

use fastrand::Rng;
use shmem_channel::{Call, Error, Incoming, Server, Session};

use super::ends::{self, PARTITIONS, SERVER};
use super::host::{self, WAIT};
use super::reception::Reception;
use crate::kit::{Outcome, Party, Seat, Step, Violation, unexpected};
use crate::scenarios::tag::Tag;

pub(super) const OPS: &[&str] = &["receive", "answer", "send news"];
pub(super) const RECEIVE: usize = 0;
pub(super) const ANSWER: usize = 1;
pub(super) const NEWS: usize = 2;

/// A message that is no answer.
pub(super) const SOME_NEWS: &[u8] = b"news";

/// The most calls that are received and not answered.
const KEPT: usize = 6;

pub(super) struct Answerer<'m> {
    server: Server<'m>,
    reception: Reception<'m>,
    received: VecDeque<(Call, Tag)>,
    _session: Session<'m>,
}

impl<'m> Answerer<'m> {
    pub(super) fn join(seat: Seat<'m>) -> Outcome<Self> {
        let memory = seat.memory;
        let session = host::join(seat, PARTITIONS[SERVER])?;
        let (reception, server) = Reception::begin(memory.ledger, SERVER, false, || {
            let server = ends::server(&session, &memory)?;
            let discarded = server.discarded();
            Ok((server, discarded))
        })?;
        Ok(Self {
            server,
            reception,
            received: VecDeque::new(),
            _session: session,
        })
    }

    fn receive(&mut self) -> Outcome<Step> {
        if self.received.len() == KEPT {
            self.received.pop_front(); // This call gets no answer.
        }
        self.reception.before();
        let mut bytes = [0; 1024];
        let received = self.server.recv(&mut bytes, WAIT);
        let command = match received {
            Ok(Incoming::Call { len, .. } | Incoming::Message { len }) => bytes.get(..len),
            _ => None,
        };
        let tag = self.reception.after(command, self.server.discarded())?; // A1
        match (received, tag) {
            (Ok(Incoming::Call { call, .. }), Some(tag)) => {
                self.received.push_back((call, tag));
                Ok(Step::Done)
            }
            (Ok(Incoming::Message { .. }), Some(tag)) => Err(Violation::new(format!(
                "{tag:?} arrived, and is not a call"
            ))),
            (Ok(_), _) | (Err(Error::TimedOut), _) => Ok(Step::Idle),
            (Err(error), _) => Err(unexpected("receiving a call", error)),
        }
    }

    fn answer(&mut self, rng: &mut Rng) -> Outcome<Step> {
        let Some((call, tag)) = self.received.pop_front() else {
            return Ok(Step::Idle);
        };
        let tag = Tag {
            incarnation: self.reception.number(),
            number: tag.number,
            reader: tag.incarnation,
        };
        let answer = tag.record_of_any_length(self.server.max_len(), rng);
        let answered = self.server.answer(call, &answer, WAIT);
        self.sent(answered)
    }

    fn sent(&self, sent: Result<(), Error>) -> Outcome<Step> {
        match sent {
            Ok(()) => Ok(Step::Done),
            Err(
                Error::TimedOut | Error::PeerGone | Error::PeerRestarted | Error::CallerRestarted,
            ) => Ok(Step::Idle),
            Err(error) => Err(unexpected("sending", error)),
        }
    }
}

impl Party for Answerer<'_> {
    fn perform(&mut self, op: usize, rng: &mut Rng) -> Outcome<Step> {
        match op {
            RECEIVE => self.receive(),
            ANSWER => self.answer(rng),
            _ => {
                let sent = self.server.send(SOME_NEWS, WAIT);
                self.sent(sent)
            }
        }
    }
}
