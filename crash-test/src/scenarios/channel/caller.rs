//! A client that calls.

use std::collections::VecDeque;

use fastrand::Rng;
use shmem_channel::{Client, Error, PendingCall, Received, Session};

use super::answerer::SOME_NEWS;
use super::ends::{self, CLIENT, Openings, PARTITIONS, SERVER};
use super::host::{self, WAIT};
use super::journal::Journal;
use crate::kit::{Outcome, Party, Seat, Step, Violation, ensure, unexpected};
use crate::scenarios::tag::Tag;

pub(super) const OPS: &[&str] = &["start", "finish"];
pub(super) const START: usize = 0;
pub(super) const FINISH: usize = 1;

/// The most calls that are started and not finished.
pub(super) const KEPT: usize = 3;

/// Waits without an answer after which it gives up all calls.
const PATIENCE: u32 = 20;

/// A call that the client has started.
struct Started {
    call: PendingCall,
    number: u32,
    /// The newest server that had begun when the call was started. `None` before the first server
    /// had opened its end: the call is for that one.
    newest: Option<u32>,
}

pub(super) struct Caller<'m> {
    client: Client<'m>,
    server: Openings<'m>,
    number: u32,
    calls: Journal<'m>,
    started: VecDeque<Started>,
    /// Waits without an answer since the last answer.
    late: u32,
    _session: Session<'m>,
}

impl<'m> Caller<'m> {
    pub(super) fn join(seat: Seat<'m>) -> Outcome<Self> {
        let memory = seat.memory;
        let session = host::join(seat, PARTITIONS[CLIENT])?;
        let openings = Openings::new(memory.ledger, CLIENT);
        let (number, client) = openings.open(|| ends::client(&session, &memory))?;
        Ok(Self {
            client,
            server: Openings::new(memory.ledger, SERVER),
            number,
            calls: ends::journal(memory.ledger, CLIENT),
            started: VecDeque::new(),
            late: 0,
            _session: session,
        })
    }

    fn start(&mut self, rng: &mut Rng) -> Outcome<Step> {
        if self.started.len() == KEPT {
            return Ok(Step::Idle);
        }
        let opened = self.server.opened.get();
        let (tag, command) = self.calls.next(self.number, self.client.max_len(), rng);
        let number = tag.number;
        match self.client.start_call(&command, WAIT) {
            Ok(call) => {
                self.calls.acknowledge(number);
                let newest = self.server.begun.get();
                let newest = (opened != 0).then_some(newest);
                self.started.push_back(Started {
                    call,
                    number,
                    newest,
                });
                Ok(Step::Done)
            }
            Err(Error::Evicted) => Err(unexpected("starting a call", Error::Evicted)),
            Err(error) => {
                self.calls.refuse(number);
                match error {
                    Error::TimedOut | Error::PeerGone | Error::PeerRestarted => Ok(Step::Idle),
                    error => Err(unexpected("starting a call", error)),
                }
            }
        }
    }

    /// Finishes started call `at`; gives up the ones before it.
    fn finish(&mut self, at: usize) -> Outcome<Step> {
        let end = self.started.len().min(at + 1);
        let Some(started) = self.started.drain(..end).next_back() else {
            return self.receive();
        };
        let opened = self.server.opened.get();
        let mut bytes = [0; 1024];
        let mut finished = self.client.finish_call(started.call, &mut bytes, WAIT);
        while finished == Err(Error::MessageFirst) {
            self.receive()?;
            finished = self.client.finish_call(started.call, &mut bytes, WAIT);
        }
        match finished {
            Ok(len) => {
                self.late = 0;
                self.see(&started, &bytes[..len]).map(|()| Step::Done)
            }
            Err(Error::TimedOut) => {
                self.late += 1;
                let newest = started.newest.unwrap_or(self.server.first.get());
                ensure(newest == 0 || opened <= newest, || {
                    let number = started.number;
                    format!("call {number} is for server {newest}, and still waits under {opened}")
                })?; // A3
                self.started.push_front(started);
                Ok(Step::Idle)
            }
            Err(Error::PeerGone | Error::AnswerLost) => Ok(Step::Idle),
            Err(error) => Err(unexpected("finishing a call", error)),
        }
    }

    /// Receives messages that are not answers.
    fn receive(&mut self) -> Outcome<Step> {
        let mut bytes = [0; 1024];
        match self.client.recv(&mut bytes, WAIT) {
            Ok(Received::Message(len)) => {
                let news = &bytes[..len];
                ensure(news == SOME_NEWS, || format!("the message is {news:02x?}"))?;
            }
            Ok(Received::PeerRestarted) | Err(Error::TimedOut) => {}
            Err(error) => return Err(unexpected("receiving", error)),
        }
        Ok(Step::Idle)
    }

    fn see(&self, started: &Started, answer: &[u8]) -> Outcome {
        let tag = Tag::read(answer)
            .ok_or_else(|| Violation::new(format!("incomplete answer: {answer:02x?}")))?;
        let own = (started.number, self.number) == (tag.number, tag.reader);
        ensure(own && tag.number < self.calls.received.get(), || {
            format!("call {} was answered with {tag:?}", started.number)
        }) // A2
    }
}

impl Party for Caller<'_> {
    fn perform(&mut self, op: usize, rng: &mut Rng) -> Outcome<Step> {
        match op {
            START => self.start(rng),
            _ if self.late == PATIENCE => {
                self.late = 0;
                self.started.clear(); // A busy server has given up some of them.
                self.receive()
            }
            _ if rng.u8(..) < 16 => self.finish(rng.usize(..KEPT)),
            _ => self.finish(0),
        }
    }
}
