//! One copy's exchange with the instance.

use std::sync::Arc;
use std::time::Duration;

use kmon_protocol::transfer::{Failure, Request};

use super::error::TransferError;
use super::inflight::Inflight;
use crate::instance::outbox::{Outbox, Put, TransferRecord};
use crate::instance::shared::Shared;
use crate::instance::state::State;

/// How often a wait asks whether the copy is to stop.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// A wait ends when guestd is silent for this long.
const SILENT: Duration = Duration::from_secs(5);
/// How long to wait for the end of a copy that was cancelled.
const CANCEL_TIME: Duration = Duration::from_secs(2);

/// An instance to and from which files are copied. It can be sent to another thread.
#[derive(Clone)]
pub(crate) struct Endpoint {
    number: u8,
    shared: Arc<Shared>,
    outbox: Arc<Outbox>,
}

impl Endpoint {
    pub(crate) fn new(number: u8, shared: &Arc<Shared>, outbox: &Arc<Outbox>) -> Self {
        Self {
            number,
            shared: Arc::clone(shared),
            outbox: Arc::clone(outbox),
        }
    }
}

/// One copy in progress. Its destructor cancels the copy unless it has ended.
pub(super) struct Stream<'a> {
    endpoint: &'a Endpoint,
    stop: &'a dyn Fn() -> bool,
    number: u32,
    /// The incarnation of guestd that the copy belongs to.
    incarnation: u32,
}

impl<'a> Stream<'a> {
    /// Begins a copy with `request`. It ends when `stop` returns true.
    pub(super) fn begin(
        endpoint: &'a Endpoint,
        request: Request<'_>,
        stop: &'a dyn Fn() -> bool,
    ) -> Result<Self, TransferError> {
        let n = endpoint.number;
        // Before the entry exists: if guestd dies later, the entry is marked as lost.
        let Some(incarnation) = endpoint.outbox.incarnation() else {
            let reason = format!("guestd of instance {n} does not run; nothing was copied");
            return Err(TransferError::new(Failure::Other, reason));
        };
        let number = {
            let mut view = endpoint.shared.lock();
            if !view.copies_files {
                let reason = format!("guestd of instance {n} is too old to copy files");
                return Err(TransferError::new(Failure::Other, reason));
            }
            let number = view.new_stream();
            view.transfers.insert(number, Inflight::default());
            number
        };
        let stream = Self {
            endpoint,
            stop,
            number,
            incarnation,
        };
        stream.send(request)?;
        Ok(stream)
    }

    /// Sends a request, after waiting for room in the outbox.
    pub(super) fn send(&self, request: Request<'_>) -> Result<(), TransferError> {
        self.send_all(&mut vec![self.record(request)?])
    }

    /// Sends the bytes at `offset`.
    pub(super) fn send_data(&self, mut offset: u64, bytes: &[u8]) -> Result<(), TransferError> {
        let mut records = Vec::with_capacity(bytes.len() / Request::MAX_DATA + 1);
        for bytes in bytes.chunks(Request::MAX_DATA) {
            records.push(self.record(Request::Data { offset, bytes })?);
            offset += bytes.len() as u64;
        }
        self.send_all(&mut records)
    }

    fn record(&self, request: Request<'_>) -> Result<TransferRecord, TransferError> {
        TransferRecord::new(self.number, request).ok_or_else(|| {
            let reason = "the path is too long, or has a NUL byte";
            TransferError::new(Failure::Other, reason)
        })
    }

    fn send_all(&self, records: &mut Vec<TransferRecord>) -> Result<(), TransferError> {
        self.check_stop()?;
        let outbox = &self.endpoint.outbox;
        loop {
            match outbox.put_transfer(records, self.incarnation, POLL_INTERVAL) {
                Put::Done => return Ok(()),
                Put::Full => self.check()?,
                Put::Gone => return Err(self.lost()),
            }
        }
    }

    /// Waits until `take` returns something.
    ///
    /// # Errors
    /// The copy has failed, has ended before that, or is to stop.
    pub(super) fn wait<T>(
        &self,
        mut take: impl FnMut(&mut Inflight) -> Option<T>,
    ) -> Result<T, TransferError> {
        loop {
            {
                let mut view = self.endpoint.shared.lock();
                let inflight = view.transfers.get_mut(&self.number);
                let inflight = inflight.ok_or_else(|| self.lost())?;
                if let Some(taken) = look(inflight, &mut take)? {
                    return Ok(taken);
                }
                if inflight.is_lost {
                    return Err(self.lost());
                }
                drop(self.endpoint.shared.wait(view, POLL_INTERVAL));
            }
            self.check()?;
        }
    }

    /// Returns an error if the copy is to stop, or if the instance cannot go on with it.
    fn check(&self) -> Result<(), TransferError> {
        self.check_stop()?;
        let n = self.endpoint.number;
        let state = self.endpoint.shared.lock().state.clone();
        let reason = match &state {
            State::Running => return Ok(()),
            State::Silent(since) | State::Restarting(since) if since.elapsed() <= SILENT => {
                return Ok(());
            }
            State::Silent(_) => format!("instance {n} is silent; kmreset {n} starts it again"),
            State::Restarting(_) => return Err(self.lost()),
            State::Paused => format!("instance {n} is paused; kmresume {n} continues it"),
            state => format!("instance {n} has ended ({state})"),
        };
        Err(TransferError::new(Failure::Other, reason))
    }

    fn check_stop(&self) -> Result<(), TransferError> {
        match (self.stop)() {
            true => Err(TransferError::new(Failure::Cancelled, "interrupted")),
            false => Ok(()),
        }
    }

    fn lost(&self) -> TransferError {
        let n = self.endpoint.number;
        let reason = format!("guestd of instance {n} died");
        TransferError::new(Failure::Other, reason)
    }

    /// Returns true if guestd may still work on the copy.
    fn is_active(&self) -> bool {
        let view = self.endpoint.shared.lock();
        let inflight = view.transfers.get(&self.number);
        let is_active = |found: &Inflight| found.ending.is_none() && !found.is_lost;
        view.state == State::Running && inflight.is_some_and(is_active)
    }
}

/// Takes something from `inflight`, unless the copy has failed.
fn look<T>(
    inflight: &mut Inflight,
    take: &mut impl FnMut(&mut Inflight) -> Option<T>,
) -> Result<Option<T>, TransferError> {
    if let Some(Err((failure, reason))) = &inflight.ending {
        return Err(TransferError::new(*failure, reason));
    }
    let taken = take(inflight);
    if taken.is_none() && inflight.ending.is_some() {
        let reason = "the instance ended the copy too early";
        return Err(TransferError::new(Failure::Protocol, reason));
    }
    Ok(taken)
}

impl Drop for Stream<'_> {
    fn drop(&mut self) {
        let Endpoint { shared, outbox, .. } = self.endpoint;
        if self.is_active()
            && let Some(record) = TransferRecord::new(self.number, Request::Cancel)
            && outbox.put_transfer(&mut vec![record], self.incarnation, CANCEL_TIME) == Put::Done
        {
            // So that a repeated copy does not meet this one.
            shared.wait_until(CANCEL_TIME, |view| {
                let inflight = view.transfers.get_mut(&self.number);
                inflight.is_none_or(|found| {
                    found.chunks.clear();
                    found.ending.is_some() || found.is_lost
                })
            });
        }
        shared.lock().transfers.remove(&self.number);
    }
}
