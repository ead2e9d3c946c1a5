//! One connected peer, and the messages that are not sent to it yet.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::sockopt::set_socket_send_buffer_size;

use crate::wire::Message;

/// The smallest possible kernel buffer. Descriptors in it count against every process of the
/// user; messages that a peer does not read wait in our queue instead.
const SEND_BUFFER: usize = 1;

/// A connected peer.
#[derive(Debug)]
pub(super) struct Peer {
    socket: OwnedFd,
    /// Its eventfds, one a vector.
    pub(super) bells: Vec<Arc<OwnedFd>>,
    queue: VecDeque<Message>,
    /// The events that the kernel reports for the socket.
    pub(super) interest: EventFlags,
}

/// The state of a queue after sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flushed {
    All,
    /// The peer must read first.
    Blocked,
    /// The system must have more resources first.
    NoResources,
}

/// Input from a peer, which must not send anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Input {
    Nothing,
    End,
    Data,
}

impl Peer {
    pub(super) fn new(socket: OwnedFd, bells: Vec<Arc<OwnedFd>>) -> Self {
        // Ignored: a larger buffer only uses more resources.
        let _ = set_socket_send_buffer_size(&socket, SEND_BUFFER);
        Self {
            socket,
            bells,
            queue: VecDeque::new(),
            interest: EventFlags::IN,
        }
    }

    /// Adds messages. Returns how many wait now.
    pub(super) fn enqueue(&mut self, messages: impl IntoIterator<Item = Message>) -> usize {
        self.queue.extend(messages);
        self.queue.len()
    }

    /// Returns how many messages wait.
    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Sends as much as the peer accepts without waiting.
    pub(super) fn flush(&mut self) -> Result<Flushed, Errno> {
        while let Some(message) = self.queue.front_mut() {
            match message.send(&self.socket) {
                Ok(true) => drop(self.queue.pop_front()),
                Ok(false) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(Flushed::Blocked),
                Err(Errno::TOOMANYREFS | Errno::NOBUFS | Errno::NOMEM) => {
                    return Ok(Flushed::NoResources);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Flushed::All)
    }

    /// Detects data and the end of the connection. Never receives descriptors.
    pub(super) fn read_input(&self) -> Input {
        match rustix::io::read(&self.socket, &mut [0; 8]) {
            Err(Errno::AGAIN | Errno::INTR) => Input::Nothing,
            Ok(0) | Err(_) => Input::End,
            Ok(_) => Input::Data,
        }
    }
}

impl AsFd for Peer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
