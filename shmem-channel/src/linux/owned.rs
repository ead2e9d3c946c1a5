//! Sessions that map their memory themselves.

use core::time::Duration;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::mpsc::{channel, RecvTimeoutError, Sender};
use std::sync::Arc;
use std::thread::{sleep, Builder, JoinHandle};
use std::time::Instant;

use shmem_core::{region, Mapping, Window};

use super::platforms::SameKernel;
use crate::error::Error;
use crate::platform::PlatformHandle;
use crate::session::{Session, SessionOptions};

/// The pause between two attempts to join a region that is not ready yet.
const RETRY_PAUSE: Duration = Duration::from_millis(10);

impl SessionOptions {
    /// Creates a region in `memory` and joins it. The session and everything opened in it share the
    /// mapping: it is unmapped when the last of them is dropped.
    ///
    /// # Errors
    ///
    /// Those of [`SessionOptions::create`].
    pub fn create_in(
        self,
        memory: Mapping,
        platform: impl Into<PlatformHandle<'static>>,
    ) -> Result<Session<'static>, Error> {
        with_memory(memory, |window| self.create(window, platform))
    }

    /// Joins the region in `memory`; otherwise like [`SessionOptions::create_in`].
    ///
    /// # Errors
    ///
    /// Those of [`SessionOptions::join`].
    pub fn join_in(
        self,
        memory: Mapping,
        platform: impl Into<PlatformHandle<'static>>,
    ) -> Result<Session<'static>, Error> {
        with_memory(memory, |window| self.join(window, platform))
    }
}

/// Returns true if a file holds no region yet, and by its first word nothing else either.
fn is_not_created_yet(error: &Error) -> bool {
    match error {
        Error::Region(region::AttachError::NotARegion { magic }) => *magic == 0,
        error => error.is_early(),
    }
}

/// Opens a session by `open` and gives it the mapping.
fn with_memory(
    memory: Mapping,
    open: impl FnOnce(Window<'static>) -> Result<Session<'static>, Error>,
) -> Result<Session<'static>, Error> {
    let window = memory.window();
    // SAFETY: mapped until the last `Member` with it is dropped. Each object that can reach the
    // window contains a `Member`, or borrows from one that does, and drops it after the window.
    let window = unsafe { Window::from_raw(window.address(), window.len()) };
    let mut session = open(window.expect("a mapping is page-aligned"))?;
    session.member.memory = Some(Arc::new(memory));
    Ok(session)
}

/// Sessions of processes on one kernel, with memory that the session maps itself.
impl Session<'static> {
    /// Creates a region of `len` bytes in a file, and joins it as `partition`. The file is created
    /// if it does not exist; an earlier region in it is lost.
    ///
    /// # Errors
    ///
    /// [`Error::Memory`] if the file cannot be created or mapped, or has another length; those of
    /// [`SessionOptions::create`].
    pub fn create_file(path: impl AsRef<Path>, len: usize, partition: u8) -> Result<Self, Error> {
        let memory = Mapping::file(path.as_ref(), Some(len))?;
        SessionOptions::new(partition).create_in(memory, &SameKernel)
    }

    /// Joins the region in a file as `partition`.
    ///
    /// # Errors
    ///
    /// [`Error::Memory`] if the file does not exist or cannot be mapped; those of
    /// [`SessionOptions::join`].
    pub fn join_file(path: impl AsRef<Path>, partition: u8) -> Result<Self, Error> {
        let memory = Mapping::file(path.as_ref(), None)?;
        SessionOptions::new(partition).join_in(memory, &SameKernel)
    }

    /// Joins the region in a file as `partition`, and waits up to `timeout` until another process
    /// has created it.
    ///
    /// # Errors
    ///
    /// Those of [`Session::join_file`]. If the region or its file is not ready, the error is
    /// returned after `timeout`; every other error at once, for example if another process has this
    /// number.
    pub fn join_file_within(
        path: impl AsRef<Path>,
        partition: u8,
        timeout: Duration,
    ) -> Result<Self, Error> {
        let start = Instant::now();
        loop {
            // Map the file again each time: the partition that creates the region may replace the
            // file.
            match Self::join_file(path.as_ref(), partition) {
                Err(error) if is_not_created_yet(&error) && start.elapsed() < timeout => {
                    sleep(RETRY_PAUSE)
                }
                joined => return joined,
            }
        }
    }

    /// Joins the region in a file as `partition`, and creates it with `len` bytes if there is none.
    /// A partition that was restarted finds what it had stored in the region.
    ///
    /// Exactly one partition calls this, as for [`SessionOptions::create`]; the others join.
    ///
    /// # Errors
    ///
    /// Those of [`Session::join_file`] and [`Session::create_file`]. [`Error::Region`] if the first
    /// word of the file is neither 0 nor that of a region: the file is not changed.
    pub fn open_file(path: impl AsRef<Path>, len: usize, partition: u8) -> Result<Self, Error> {
        match Self::join_file(path.as_ref(), partition) {
            Err(error) if is_not_created_yet(&error) => Self::create_file(path, len, partition),
            joined => joined,
        }
    }

    /// Creates a region of `len` bytes in anonymous memory, and joins it as `partition`. Peers get
    /// the memory by its descriptor ([`Session::share`]).
    ///
    /// # Errors
    ///
    /// [`Error::Memory`] if there is not enough memory; those of [`SessionOptions::create`].
    pub fn create_memfd(name: &str, len: usize, partition: u8) -> Result<Self, Error> {
        let memory = Mapping::memfd(name, len)?;
        SessionOptions::new(partition).create_in(memory, &SameKernel)
    }

    /// Joins the region in the memory of a descriptor as `partition`.
    ///
    /// # Errors
    ///
    /// [`Error::Memory`] if the memory cannot be mapped; those of [`SessionOptions::join`].
    pub fn join_fd(memory: OwnedFd, partition: u8) -> Result<Self, Error> {
        let memory = Mapping::from_fd(memory)?;
        SessionOptions::new(partition).join_in(memory, &SameKernel)
    }

    /// Returns a new descriptor of the memory, for [`Session::join_fd`]: in this process, in a
    /// child process, or in a process that receives it ([`send_memory`](crate::send_memory)).
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::Unsupported`] if the session has no mapping of its own; otherwise the
    /// kernel's error.
    pub fn share(&self) -> io::Result<OwnedFd> {
        let memory = self.memory().ok_or(io::ErrorKind::Unsupported)?;
        memory.as_fd().try_clone_to_owned()
    }

    /// Returns the session's own mapping, if it has one.
    pub fn memory(&self) -> Option<&Mapping> {
        self.member.memory.as_deref()
    }

    /// Starts a thread that calls [`Session::beat`] every `interval`, until the result is dropped
    /// or the partition is evicted. Needed if peers run on other kernels, which know this partition
    /// only by its heartbeat.
    ///
    /// # Errors
    ///
    /// The kernel's error if no thread can be started.
    pub fn beat_every(self: &Arc<Self>, interval: Duration) -> io::Result<HeartbeatThread> {
        let (stop, stopped) = channel();
        let session = Arc::clone(self);
        let beat = move || {
            let is_time = || stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout);
            while session.beat().is_ok() && is_time() {}
        };
        let thread = Builder::new().name("heartbeat".into()).spawn(beat)?;
        Ok(HeartbeatThread {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

/// A thread that calls [`Session::beat`]. The thread ends when this is dropped.
#[must_use = "the thread ends when this is dropped"]
pub struct HeartbeatThread {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for HeartbeatThread {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
