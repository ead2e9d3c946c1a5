//! Passes the memory of a region to another process.

use core::mem::MaybeUninit;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    recvmsg, sendmsg, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

/// The byte sent with a descriptor: a descriptor cannot be sent alone.
const MARK: u8 = b'm';

/// Sends the descriptor of a region's memory over a Unix socket.
///
/// # Errors
///
/// The kernel's error.
pub fn send_memory(socket: &UnixStream, memory: impl AsFd) -> io::Result<()> {
    let descriptors = [memory.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fits = ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    debug_assert!(fits);
    let mark = [IoSlice::new(&[MARK])];
    sendmsg(socket, &mark, &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives a descriptor that [`send_memory`] sent.
///
/// # Errors
///
/// [`io::ErrorKind::UnexpectedEof`] if the peer closed the socket,
/// [`io::ErrorKind::InvalidData`] if it sent something else, or the kernel's error.
pub fn receive_memory(socket: &UnixStream) -> io::Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut mark = [0];
    let mut bytes = [IoSliceMut::new(&mut mark)];
    let received = recvmsg(socket, &mut bytes, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    if received.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let descriptors = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    descriptors
        .last()
        .filter(|_| mark[0] == MARK)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no descriptor was sent"))
}
