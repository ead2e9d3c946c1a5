//! KMON as a peer of one machine, through the machine's doorbell server.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use ivshmem_server::{Change, Client};
use kmon_protocol::link::bells::{RECORDS, ROOM, VECTORS};
use kmon_protocol::link::{Bells, RingPeers, Waiting};

/// How long the server may take to accept KMON.
const PATIENCE: Duration = Duration::from_secs(2);

/// The connection to the server, whose only peers are the machine and KMON.
pub(super) struct DoorbellClient(Mutex<Client>);

impl DoorbellClient {
    /// Connects to the server at `socket`. Also returns how KMON and the machine wait for each
    /// other.
    ///
    /// # Errors
    ///
    /// There is no server, or it does not accept KMON.
    pub(super) fn open(socket: &Path) -> anyhow::Result<(Arc<Self>, Waiting)> {
        let client = Client::connect(socket, VECTORS, PATIENCE);
        let client = client.context("its doorbell server")?;
        let own = |vector| {
            let bell = client.own(vector).map(Arc::clone);
            bell.context("its doorbell server provides too few doorbells")
        };
        let own = [own(RECORDS)?, own(ROOM)?];
        let number = client.id();
        let door = Arc::new(Self(Mutex::new(client)));
        let peers: Arc<Self> = Arc::clone(&door);
        Ok((door, Waiting::Bells(Bells::for_monitor(number, own, peers))))
    }

    /// Notes whether the machine has joined or left, without waiting. Returns the error once when
    /// the connection is lost.
    pub(super) fn update(&self) -> Option<String> {
        let changes = self.client().update().into_iter();
        let lost = changes.filter_map(|change| match change {
            Change::Lost(error) => Some(error.to_string()),
            Change::Joined(_) | Change::Left(_) => None,
        });
        lost.last()
    }

    fn client(&self) -> MutexGuard<'_, Client> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RingPeers for DoorbellClient {
    fn ring(&self, _: Option<u16>, vector: u16) {
        self.client().ring_all(vector);
    }
}
