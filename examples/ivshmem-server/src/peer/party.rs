//! Who shares memory and interrupts with other peers, wherever it runs.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use shmem_core::Mapping;
use shmem_sync::EventBell;

use crate::client::{Change, Client};

/// A peer: a process of the host, or of a guest.
pub trait Party {
    /// Its number, by which others ring it.
    fn id(&self) -> u16;

    /// The memory that all share.
    fn memory(&self) -> &Arc<Mapping>;

    /// What rings it for `vector`; nothing from the first vector on that it has not.
    fn own(&self, vector: u16) -> Option<&Arc<EventBell>>;

    /// Interrupts a peer; `false` if that is known not to be there.
    fn ring(&self, peer: u16, vector: u16) -> bool;

    /// Whether a peer may be there.
    fn may_know(&self, peer: u16) -> bool;

    /// The peers that are known to be there.
    fn peers(&self) -> Vec<u16>;

    /// Readable while there is something for [`Party::update`]; nothing if it never learns.
    fn news(&self) -> Option<BorrowedFd<'_>>;

    /// What has changed, without waiting.
    fn update(&mut self) -> Vec<Change>;
}

impl Party for Client {
    fn id(&self) -> u16 {
        self.id()
    }

    fn memory(&self) -> &Arc<Mapping> {
        self.memory()
    }

    fn own(&self, vector: u16) -> Option<&Arc<EventBell>> {
        self.own(vector)
    }

    fn ring(&self, peer: u16, vector: u16) -> bool {
        self.ring(peer, vector)
    }

    fn may_know(&self, peer: u16) -> bool {
        self.bell(peer, 0).is_some()
    }

    fn peers(&self) -> Vec<u16> {
        self.peers().collect()
    }

    fn news(&self) -> Option<BorrowedFd<'_>> {
        Some(self.as_fd())
    }

    fn update(&mut self) -> Vec<Change> {
        self.update()
    }
}
