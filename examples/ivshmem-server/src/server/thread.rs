//! A server on a thread of its own.

use std::io;
use std::os::fd::OwnedFd;
use std::thread::{self, JoinHandle};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::Errno;

use super::{Event, Server};

/// A server that runs on its own thread until this is dropped.
#[derive(Debug)]
pub struct Running {
    stop: OwnedFd,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Server {
    /// Starts a thread that serves, and calls `report` with each event.
    ///
    /// # Errors
    ///
    /// The kernel cannot create a thread or an eventfd.
    pub fn spawn(mut self, mut report: impl FnMut(Event) + Send + 'static) -> io::Result<Running> {
        let stop = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let asked = stop.try_clone()?;
        let thread = thread::Builder::new()
            .name("ivshmem-server".to_owned())
            .spawn(move || {
                while !readable(&self, &asked)? {
                    self.run_once(None)?.into_iter().for_each(&mut report);
                }
                Ok(())
            })?;
        let thread = Some(thread);
        Ok(Running { stop, thread })
    }
}

/// Waits until `server` has work or `stop` is readable. Returns true for the latter.
fn readable(server: &Server, stop: &OwnedFd) -> io::Result<bool> {
    loop {
        let mut events = [
            PollFd::new(server, PollFlags::IN),
            PollFd::new(stop, PollFlags::IN),
        ];
        match poll(&mut events, None) {
            Ok(_) => return Ok(!events[1].revents().is_empty()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

impl Running {
    /// Ends the server. Returns the error if it had ended before.
    ///
    /// # Errors
    ///
    /// The error that ended the server.
    pub fn stop(mut self) -> io::Result<()> {
        self.end()
    }

    fn end(&mut self) -> io::Result<()> {
        let Some(thread) = self.thread.take() else {
            return Ok(());
        };
        // Ignored: it fails only if the eventfd is already readable.
        let _ = rustix::io::write(&self.stop, &1_u64.to_ne_bytes());
        let panicked = |_| Err(io::Error::other("the server's thread panicked"));
        thread.join().unwrap_or_else(panicked)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.end();
    }
}
