//! One message: a little-endian number of 8 bytes, with a descriptor or without.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// The protocol's version, which is the first number.
pub(crate) const VERSION: i64 = 0;
/// The number that comes with the memory.
pub(crate) const MEMORY: i64 = -1;

/// A message that waits to be sent.
#[derive(Debug)]
pub(crate) struct Message {
    number: i64,
    /// Shared with the messages to other peers.
    descriptor: Option<Arc<OwnedFd>>,
    /// The number of bytes sent; the descriptor is sent with the first byte.
    sent: usize,
}

impl Message {
    pub(crate) fn number(number: i64) -> Self {
        Self {
            number,
            descriptor: None,
            sent: 0,
        }
    }

    pub(crate) fn with(number: i64, descriptor: &Arc<OwnedFd>) -> Self {
        Self {
            descriptor: Some(Arc::clone(descriptor)),
            ..Self::number(number)
        }
    }

    /// Sends the rest of it without waiting. Returns true if all is sent.
    pub(crate) fn send(&mut self, socket: &OwnedFd) -> Result<bool, Errno> {
        let bytes = self.number.to_le_bytes();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let descriptor: Option<[BorrowedFd<'_>; 1]> = match &self.descriptor {
            Some(descriptor) if self.sent == 0 => Some([descriptor.as_fd()]),
            _ => None,
        };
        if let Some(descriptor) = &descriptor {
            let fits = control.push(SendAncillaryMessage::ScmRights(descriptor));
            assert!(fits, "the space is that of one descriptor");
        }
        let rest = [IoSlice::new(&bytes[self.sent..])];
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        self.sent += sendmsg(socket, &rest, &mut control, flags)?;
        Ok(self.sent == bytes.len())
    }
}

/// The result of receiving.
#[derive(Debug)]
pub(crate) enum Received {
    Message(i64, Option<OwnedFd>),
    /// No complete message yet.
    Nothing,
    /// The other side has closed it.
    End,
    /// A descriptor was lost, since this process has too many: without it a connect
    /// notification would look like a disconnect.
    NoRoom,
}

/// Assembles messages, which may come in pieces.
#[derive(Debug, Default)]
pub(crate) struct Receiver {
    bytes: [u8; 8],
    have: usize,
    descriptor: Option<OwnedFd>,
}

impl Receiver {
    /// Receives the next message without waiting.
    pub(crate) fn receive(&mut self, socket: &OwnedFd) -> Result<Received, Errno> {
        loop {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut rest = [IoSliceMut::new(&mut self.bytes[self.have..])];
            let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
            let got = match recvmsg(socket, &mut rest, &mut control, flags) {
                Ok(got) => got,
                Err(Errno::AGAIN) => return Ok(Received::Nothing),
                Err(Errno::INTR) => continue,
                Err(Errno::CONNRESET) => return Ok(Received::End),
                Err(error) => return Err(error),
            };
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                    // Descriptors that are not kept are closed.
                    self.descriptor = self.descriptor.take().or(descriptors.last());
                }
            }
            if got.flags.contains(ReturnFlags::CTRUNC) {
                return Ok(Received::NoRoom);
            }
            if got.bytes == 0 {
                return Ok(Received::End);
            }
            self.have += got.bytes;
            if self.have == self.bytes.len() {
                self.have = 0;
                let number = i64::from_le_bytes(self.bytes);
                return Ok(Received::Message(number, self.descriptor.take()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn pair() -> (OwnedFd, OwnedFd) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (ours.into(), theirs.into())
    }

    #[test]
    fn a_message_is_eight_little_endian_bytes() {
        let (ours, theirs) = pair();
        assert!(Message::number(0x0102).send(&ours).unwrap());
        assert!(Message::number(MEMORY).send(&ours).unwrap());
        let mut bytes = [0; 16];
        assert_eq!(rustix::io::read(&theirs, &mut bytes), Ok(16));
        assert_eq!(bytes[..8], [2, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[8..], [0xff; 8]);
    }

    #[test]
    fn a_descriptor_comes_with_its_own_number() {
        let (ours, theirs) = pair();
        let file = Arc::new(OwnedFd::from(File::open("/dev/null").unwrap()));
        Message::number(1).send(&ours).unwrap();
        Message::with(2, &file).send(&ours).unwrap();
        Message::number(3).send(&ours).unwrap();
        let mut receiver = Receiver::default();
        for (number, with) in [(1, false), (2, true), (3, false)] {
            let Received::Message(got, descriptor) = receiver.receive(&theirs).unwrap() else {
                panic!("no message {number}");
            };
            assert_eq!((got, descriptor.is_some()), (number, with));
        }
        assert!(matches!(receiver.receive(&theirs), Ok(Received::Nothing)));
    }

    #[test]
    fn a_message_in_pieces_is_assembled() {
        let (ours, theirs) = pair();
        let mut receiver = Receiver::default();
        for piece in [&[7_u8, 0][..], &[0; 5]] {
            rustix::io::write(&ours, piece).unwrap();
            assert!(matches!(receiver.receive(&theirs), Ok(Received::Nothing)));
        }
        rustix::io::write(&ours, &[0]).unwrap();
        let got = receiver.receive(&theirs).unwrap();
        assert!(matches!(got, Received::Message(7, None)));
        drop(ours);
        assert!(matches!(receiver.receive(&theirs), Ok(Received::End)));
    }
}
