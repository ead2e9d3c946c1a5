//! A process that shares memory and interrupts with other peers, on the host or in a guest.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use shmem_core::Mapping;
use shmem_sync::EventBell;

use crate::client::{Change, Client};

/// A peer: a process of the host, or of a guest.
pub trait Party {
    /// Returns its number, by which others notify it.
    fn id(&self) -> u16;

    /// Returns the memory that all peers share.
    fn memory(&self) -> &Arc<Mapping>;

    /// Returns the eventfd by which others notify it for `vector`, or `None` after its last vector.
    fn own(&self, vector: u16) -> Option<&Arc<EventBell>>;

    /// Interrupts a peer. Returns `false` if the peer is known not to exist.
    fn ring(&self, peer: u16, vector: u16) -> bool;

    /// Returns true if a peer may exist.
    fn may_exist(&self, peer: u16) -> bool;

    /// Returns the peers that are known to exist.
    fn peers(&self) -> Vec<u16>;

    /// Returns a descriptor that is readable while [`Party::update`] has something to read, or
    /// `None` if there are no updates.
    fn update_fd(&self) -> Option<BorrowedFd<'_>>;

    /// Returns what has changed, without waiting.
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

    fn may_exist(&self, peer: u16) -> bool {
        self.bell(peer, 0).is_some()
    }

    fn peers(&self) -> Vec<u16> {
        self.peers().collect()
    }

    fn update_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.as_fd())
    }

    fn update(&mut self) -> Vec<Change> {
        self.update()
    }
}
