//! What requests share.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Semaphore, watch};

use super::access::Access;
use super::writers::Writers;
use crate::allowance::Allowance;
use crate::api::Fate;
use crate::monitor::Monitor;

/// How many WebSockets are open at most.
pub(super) const MAX_SOCKETS: usize = 256;
/// How many logs on disk are read at once.
pub(super) const MAX_READERS: usize = 32;

/// What requests share.
pub(super) struct Server {
    pub(super) monitor: Monitor,
    pub(super) access: Access,
    pub(super) writers: Writers,
    /// A permit for each WebSocket.
    pub(super) sockets: Arc<Semaphore>,
    /// A permit for each reader of a log on disk.
    pub(super) readers: Arc<Semaphore>,
    /// Set when the server is to end.
    pub(super) end: watch::Sender<Option<Fate>>,
    /// Requests in progress.
    requests: AtomicUsize,
    /// Limits how often a refusal is logged.
    refusals: Mutex<Allowance>,
}

/// A request in progress, until this is dropped.
pub(super) struct InProgress(Arc<Server>);

impl Server {
    pub(super) fn new(monitor: Monitor, access: Access) -> Self {
        Self {
            monitor,
            access,
            writers: Writers::default(),
            sockets: Arc::new(Semaphore::new(MAX_SOCKETS)),
            readers: Arc::new(Semaphore::new(MAX_READERS)),
            end: watch::Sender::new(None),
            requests: AtomicUsize::new(0),
            refusals: Mutex::default(),
        }
    }

    /// Logs that a request was refused, unless too many were.
    pub(super) fn log_refusal(&self, line: String) {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        if refusals.take() {
            self.monitor.common().notices.post(line);
        }
    }

    pub(super) fn begin_request(self: &Arc<Self>) -> InProgress {
        self.requests.fetch_add(1, Ordering::Relaxed);
        InProgress(Arc::clone(self))
    }

    /// Returns true if a request is in progress, a WebSocket is open, or a log is read.
    pub(super) fn has_clients(&self) -> bool {
        self.requests.load(Ordering::Relaxed) > 0
            || self.sockets.available_permits() < MAX_SOCKETS
            || self.readers.available_permits() < MAX_READERS
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}
