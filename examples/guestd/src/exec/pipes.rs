//! Sends the output of a command's two pipes while it runs.

use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{ChildStderr, ChildStdout};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kmon_protocol::Event;
use kmon_protocol::link::EventSender;
use rustix::event::{PollFd, PollFlags, poll};

use crate::children::{OwnChild, timespec};
use crate::outlet::Outlet;

/// How long to wait for output after the command has ended. Its own output is in the pipe by then;
/// more can only come from a process that it has left running.
const LINGER: Duration = Duration::from_millis(200);
/// The most bytes to read after the end: as many as two pipes hold. So no output of the command is
/// lost, and a process that it has left running cannot print forever.
const LINGER_BYTES: usize = 2 << 20;

/// The reading ends of both pipes, and a descriptor that shows the command's end.
pub(super) struct Pipes {
    out: Option<ChildStdout>,
    err: Option<ChildStderr>,
    exit: Arc<OwnedFd>,
}

/// The result of one wait.
struct Ready {
    out: bool,
    err: bool,
    ended: bool,
}

impl Pipes {
    pub(super) fn new(child: &mut OwnChild) -> Self {
        let (out, err) = child.take_pipes();
        Self {
            out,
            err,
            exit: child.exit(),
        }
    }

    /// Sends the output until both pipes are closed, or until [`LINGER`] or [`LINGER_BYTES`] is
    /// reached after the command's end.
    pub(super) fn forward(mut self, outlet: &Outlet, stream: u32) {
        let mut buffer = vec![0; EventSender::MAX_BODY];
        let mut ended = false;
        let mut awaited = Duration::ZERO; // Without the time spent sending.
        let mut since_end = 0;
        while self.out.is_some() || self.err.is_some() {
            let started = Instant::now();
            let ready = self.wait(ended.then(|| LINGER.saturating_sub(awaited)));
            if ended {
                awaited += started.elapsed();
            }
            if ended && (!ready.out && !ready.err || since_end >= LINGER_BYTES) {
                return;
            }
            ended |= ready.ended;
            let mut read = 0;
            if ready.out {
                read += forward_once(&mut self.out, &mut buffer, |bytes| {
                    outlet.output(&Event::Stdout { stream, bytes }, bytes.len());
                });
            }
            if ready.err {
                read += forward_once(&mut self.err, &mut buffer, |bytes| {
                    outlet.output(&Event::Stderr { stream, bytes }, bytes.len());
                });
            }
            since_end += if ended { read } else { 0 };
        }
    }

    /// Waits for output and, if `linger` is `None`, for the command's end.
    fn wait(&self, linger: Option<Duration>) -> Ready {
        let mut list = Vec::with_capacity(3);
        list.extend(
            self.out
                .as_ref()
                .map(|out| PollFd::from_borrowed_fd(out.as_fd(), PollFlags::IN)),
        );
        list.extend(
            self.err
                .as_ref()
                .map(|err| PollFd::from_borrowed_fd(err.as_fd(), PollFlags::IN)),
        );
        if linger.is_none() {
            list.push(PollFd::from_borrowed_fd(self.exit.as_fd(), PollFlags::IN));
        }
        let _ = poll(&mut list, linger.map(timespec).as_ref());
        let mut ready = list.iter().map(|entry| !entry.revents().is_empty());
        Ready {
            out: self.out.is_some() && ready.next() == Some(true),
            err: self.err.is_some() && ready.next() == Some(true),
            ended: ready.next() == Some(true),
        }
    }
}

/// Reads once, passes the bytes to `send`, and closes the pipe at its end. Returns the number of
/// bytes.
fn forward_once<P: Read>(
    pipe: &mut Option<P>,
    buffer: &mut [u8],
    send: impl FnOnce(&[u8]),
) -> usize {
    let Some(open) = pipe else { return 0 };
    match open.read(buffer) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
        Ok(0) | Err(_) => {
            *pipe = None;
            0
        }
        Ok(len) => {
            send(&buffer[..len]);
            len
        }
    }
}
