//! One connected peer, and what it has not been sent yet.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::sockopt::set_socket_send_buffer_size;

use crate::wire::Message;

/// Of the kernel's buffer as little as it gives. Descriptors on their way count against
/// every process of the user: what a peer does not read waits here, where it costs nobody.
const SEND_BUFFER: usize = 1;

/// A connected peer.
#[derive(Debug)]
pub(super) struct Peer {
    socket: OwnedFd,
    /// Its eventfds, one a vector.
    pub(super) bells: Vec<Arc<OwnedFd>>,
    queue: VecDeque<Message>,
    /// What the kernel tells us about the socket now.
    pub(super) interest: EventFlags,
}

/// How a queue was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flushed {
    All,
    /// Until the peer has read.
    Behind,
    /// Until the system has more to spare.
    Starved,
}

/// What a peer says, which is nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Nothing,
    End,
    Something,
}

impl Peer {
    pub(super) fn new(socket: OwnedFd, bells: Vec<Arc<OwnedFd>>) -> Self {
        // Without it all works, only less frugally.
        let _ = set_socket_send_buffer_size(&socket, SEND_BUFFER);
        Self {
            socket,
            bells,
            queue: VecDeque::new(),
            interest: EventFlags::IN,
        }
    }

    /// Adds messages; how many wait now.
    pub(super) fn enqueue(&mut self, messages: impl IntoIterator<Item = Message>) -> usize {
        self.queue.extend(messages);
        self.queue.len()
    }

    /// How many messages wait.
    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Sends as much as it takes without waiting.
    pub(super) fn flush(&mut self) -> Result<Flushed, Errno> {
        while let Some(message) = self.queue.front_mut() {
            match message.send(&self.socket) {
                Ok(true) => drop(self.queue.pop_front()),
                Ok(false) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(Flushed::Behind),
                Err(Errno::TOOMANYREFS | Errno::NOBUFS | Errno::NOMEM) => {
                    return Ok(Flushed::Starved);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Flushed::All)
    }

    /// Listens for the end. Descriptors that it may send are never taken in.
    pub(super) fn listen(&self) -> Heard {
        match rustix::io::read(&self.socket, &mut [0; 8]) {
            Err(Errno::AGAIN | Errno::INTR) => Heard::Nothing,
            Ok(0) | Err(_) => Heard::End,
            Ok(_) => Heard::Something,
        }
    }
}

impl AsFd for Peer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
