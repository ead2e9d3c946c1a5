//! Carries out a client's requests about files, one after the other.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::ws::Message;
use tokio::sync::mpsc::{Sender, UnboundedReceiver};

use super::session::{Sent, Session};
use crate::api::fault::{Code, Fault};
use crate::api::files::{Answer, Bytes, Entry, Failed, Held, Hex, PutFile, Request, Whole};
use crate::instance::transfer::{Endpoint, Get, Put, PutFile as EnginePutFile, TransferError};
use crate::server::socket::text;

/// Entries of a directory in one answer.
const ENTRIES: usize = 1000;
/// Bytes of a file in one answer.
const PIECE: usize = 64 * 1024;

/// Why a request, or all, end early.
enum End {
    /// This request has failed.
    Failed(TransferError),
    /// The client does not follow the protocol.
    Wrong(Fault),
    /// The client is gone.
    Gone,
}

impl From<TransferError> for End {
    fn from(error: TransferError) -> Self {
        Self::Failed(error)
    }
}

/// The thread's side of a session.
pub(super) struct Work {
    endpoint: Endpoint,
    session: Arc<Session>,
    requests: UnboundedReceiver<(Sent, u64)>,
    answers: Sender<Message>,
}

impl Work {
    pub(super) fn new(
        endpoint: Endpoint,
        session: Arc<Session>,
        requests: UnboundedReceiver<(Sent, u64)>,
        answers: Sender<Message>,
    ) -> Self {
        Self {
            endpoint,
            session,
            requests,
            answers,
        }
    }

    /// Carries requests out until the client ends or cancels.
    pub(super) fn run(mut self) {
        let mut has_failed = false;
        loop {
            let done = match self.receive() {
                Ok(Sent::Request(request)) if !(has_failed && is_part(&request)) => {
                    self.carry_out(&request)
                }
                // What was under way when the copy failed.
                Ok(Sent::Request(_) | Sent::Bytes(_)) if has_failed => continue,
                Ok(Sent::Request(_) | Sent::Bytes(_)) => Err(unexpected()),
                Ok(Sent::Wrong(fault)) => Err(End::Wrong(fault)),
                Err(end) => Err(end),
            };
            has_failed = matches!(done, Err(End::Failed(_)));
            let sent = match done {
                Ok(()) => self.answer(&Answer::Done(true)),
                Err(End::Failed(error)) => self.answer(&Answer::Failed(Failed {
                    failure: error.failure.into(),
                    message: error.reason,
                })),
                Err(End::Wrong(fault)) => {
                    // A client that is gone needs no answer.
                    let _ = self.answer(&Answer::Error(fault));
                    return;
                }
                Err(End::Gone) => return,
            };
            if sent.is_err() {
                return;
            }
        }
    }

    fn carry_out(&mut self, request: &Request) -> Result<(), End> {
        let (endpoint, session) = (self.endpoint.clone(), Arc::clone(&self.session));
        let stop = || session.stop.load(Ordering::Relaxed);
        match request {
            Request::Status(of) => {
                let status = endpoint.status(of.path.as_bytes(), &stop)?;
                self.answer(&Answer::Status(status.into()))?;
            }
            Request::List(of) => {
                for entries in endpoint.list(of.path.as_bytes(), &stop)?.chunks(ENTRIES) {
                    let entries = entries.iter().map(|entry| Entry {
                        kind: entry.kind.into(),
                        name: Bytes::from(&entry.name[..]),
                    });
                    self.answer(&Answer::Entries(entries.collect()))?;
                }
            }
            Request::MakeDirectory(of) => {
                endpoint.make_directory(of.path.as_bytes(), of.mode, &stop)?;
            }
            Request::SetMode(of) => endpoint.set_mode(of.path.as_bytes(), of.mode, &stop)?,
            Request::Put(file) => self.put(&endpoint, file, &stop)?,
            Request::Get(of) => self.get(&endpoint, of.path.as_bytes(), &stop)?,
            Request::Start(_) | Request::Finish(_) | Request::Cancel(_) => return Err(unexpected()),
        }
        Ok(())
    }

    fn put(
        &mut self,
        endpoint: &Endpoint,
        file: &PutFile,
        stop: &dyn Fn() -> bool,
    ) -> Result<(), End> {
        let wanted = EnginePutFile {
            path: file.path.as_bytes(),
            size: file.size,
            mode: file.mode & 0o7777,
            source: file.source.0,
        };
        let (mut put, (offset, digest)) = Put::open(endpoint, &wanted, stop)?;
        let digest = Hex(digest);
        self.answer(&Answer::Held(Held { offset, digest }))?;
        let Sent::Request(Request::Start(start)) = self.receive()? else {
            return Err(unexpected());
        };
        if start.offset != offset && start.offset != 0 {
            return Err(unexpected());
        }
        put.start(start.offset)?;
        let mut taken = 0;
        loop {
            match self.receive()? {
                Sent::Bytes(bytes) => {
                    put.write(&bytes)?;
                    taken += bytes.len() as u64;
                    self.answer(&Answer::Taken(taken))?;
                }
                Sent::Request(Request::Finish(whole)) => {
                    return Ok(put.finish(whole.digest.0)?);
                }
                Sent::Request(_) => return Err(unexpected()),
                Sent::Wrong(fault) => return Err(End::Wrong(fault)),
            }
        }
    }

    fn get(
        &mut self,
        endpoint: &Endpoint,
        path: &[u8],
        stop: &dyn Fn() -> bool,
    ) -> Result<(), End> {
        let (mut get, status) = Get::open(endpoint, path, stop)?;
        self.answer(&Answer::Status(status.into()))?;
        let Sent::Request(Request::Start(start)) = self.receive()? else {
            return Err(unexpected());
        };
        let started = get.start(start.offset, start.digest.0)?;
        self.answer(&Answer::Started(started))?;
        let mut piece = Vec::new();
        while let Some(chunk) = get.read()? {
            piece.extend(chunk);
            if piece.len() >= PIECE || !get.has_more() {
                self.send(Message::binary(std::mem::take(&mut piece)))?;
            }
        }
        let digest = Hex(get.finish()?);
        self.answer(&Answer::End(Whole { digest }))
    }

    /// Waits for the client's next message.
    fn receive(&mut self) -> Result<Sent, End> {
        let (sent, len) = self.requests.blocking_recv().ok_or(End::Gone)?;
        self.session.queued.fetch_sub(len, Ordering::Relaxed);
        Ok(sent)
    }

    fn answer(&self, answer: &Answer) -> Result<(), End> {
        self.send(text(answer))
    }

    fn send(&self, message: Message) -> Result<(), End> {
        self.answers.blocking_send(message).map_err(|_| End::Gone)
    }
}

/// Returns true if it belongs to a copy that was begun before.
fn is_part(request: &Request) -> bool {
    matches!(request, Request::Start(_) | Request::Finish(_))
}

fn unexpected() -> End {
    let what = "a message does not belong here; see docs/api.md";
    End::Wrong(Fault::new(Code::BadRequest, what))
}
