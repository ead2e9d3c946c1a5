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

/// The pause between two tries to join a region that is not there yet.
const LOOK: Duration = Duration::from_millis(10);

impl SessionOptions {
    /// Creates a region in `memory` and joins it. The session and all that is opened in it
    /// share the mapping: it is unmapped with the last of them.
    ///
    /// # Errors
    ///
    /// As [`SessionOptions::create`].
    pub fn create_in(
        self,
        memory: Mapping,
        platform: impl Into<PlatformHandle<'static>>,
    ) -> Result<Session<'static>, Error> {
        with_memory(memory, |window| self.create(window, platform))
    }

    /// Joins the region in `memory`; as [`SessionOptions::create_in`] otherwise.
    ///
    /// # Errors
    ///
    /// As [`SessionOptions::join`].
    pub fn join_in(
        self,
        memory: Mapping,
        platform: impl Into<PlatformHandle<'static>>,
    ) -> Result<Session<'static>, Error> {
        with_memory(memory, |window| self.join(window, platform))
    }
}

/// Whether there is no region in a file yet, and nothing else either, as its first word says.
fn is_unmade(error: &Error) -> bool {
    match error {
        Error::Region(region::AttachError::NotARegion { magic }) => *magic == 0,
        error => Session::is_early(error),
    }
}

/// Gives a session its mapping to keep.
fn with_memory(
    memory: Mapping,
    open: impl FnOnce(Window<'static>) -> Result<Session<'static>, Error>,
) -> Result<Session<'static>, Error> {
    let window = memory.window();
    // SAFETY: mapped until the last `Member` with it is dropped. Whatever can reach the window
    // has one, or is borrowed from what has one, and drops it after its own window.
    let window = unsafe { Window::from_raw(window.address(), window.len()) };
    let mut session = open(window.expect("a mapping is page-aligned"))?;
    session.member.memory = Some(Arc::new(memory));
    Ok(session)
}

/// Over memory that the session maps itself, among processes of one kernel.
impl Session<'static> {
    /// Creates a region of `len` bytes in a file, and joins it as `partition`. The file is
    /// made if it is not there; an earlier region in it is gone afterwards.
    ///
    /// # Errors
    ///
    /// [`Error::Memory`] if the file cannot be made or mapped, or has another length;
    /// [`SessionOptions::create`].
    pub fn create_file(path: impl AsRef<Path>, len: usize, partition: u8) -> Result<Self, Error> {
        let memory = Mapping::file(path.as_ref(), Some(len))?;
        SessionOptions::new(partition).create_in(memory, &SameKernel)
    }

    /// Joins the region in a file as `partition`.
    ///
    /// # Errors
    ///
    /// [`Error::Memory`] if the file is not there or cannot be mapped;
    /// [`SessionOptions::join`].
    pub fn join_file(path: impl AsRef<Path>, partition: u8) -> Result<Self, Error> {
        let memory = Mapping::file(path.as_ref(), None)?;
        SessionOptions::new(partition).join_in(memory, &SameKernel)
    }

    /// As [`Session::join_file`], and waits up to `timeout` until another process has created
    /// the region.
    ///
    /// # Errors
    ///
    /// As [`Session::join_file`]: after `timeout` why the region cannot be joined yet, and at
    /// once what waiting does not change, as that the file holds something else.
    pub fn join_file_within(
        path: impl AsRef<Path>,
        partition: u8,
        timeout: Duration,
    ) -> Result<Self, Error> {
        let start = Instant::now();
        loop {
            // Mapped anew each time: whoever creates the region may replace the file.
            match Self::join_file(path.as_ref(), partition) {
                Err(error) if is_unmade(&error) && start.elapsed() < timeout => sleep(LOOK),
                joined => return joined,
            }
        }
    }

    /// Joins the region in a file as `partition`, and creates it with `len` bytes if there is
    /// none: a partition that was restarted finds what it had in the region.
    ///
    /// One partition does this, as with [`SessionOptions::create`]; the others join.
    ///
    /// # Errors
    ///
    /// As [`Session::join_file`] and [`Session::create_file`]. [`Error::Region`] if the
    /// first word of the file is neither 0 nor a region's: it is left as it is.
    pub fn open_file(path: impl AsRef<Path>, len: usize, partition: u8) -> Result<Self, Error> {
        match Self::join_file(path.as_ref(), partition) {
            Err(error) if is_unmade(&error) => Self::create_file(path, len, partition),
            joined => joined,
        }
    }

    /// Creates a region of `len` bytes in memory without a name, and joins it as
    /// `partition`. Peers get it by its descriptor ([`Session::share`]).
    ///
    /// # Errors
    ///
    /// [`Error::Memory`] if there is not so much; [`SessionOptions::create`].
    pub fn create_memfd(name: &str, len: usize, partition: u8) -> Result<Self, Error> {
        let memory = Mapping::memfd(name, len)?;
        SessionOptions::new(partition).create_in(memory, &SameKernel)
    }

    /// Joins the region behind a descriptor as `partition`.
    ///
    /// # Errors
    ///
    /// [`Error::Memory`] if it cannot be mapped; [`SessionOptions::join`].
    pub fn join_fd(memory: OwnedFd, partition: u8) -> Result<Self, Error> {
        let memory = Mapping::from_fd(memory)?;
        SessionOptions::new(partition).join_in(memory, &SameKernel)
    }

    /// A descriptor of the memory, for [`Session::join_fd`] in this process, in a child, or
    /// in a process that it is [sent](crate::send_memory) to.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::Unsupported`] if the session has no mapping of its own, or the
    /// kernel's reason.
    pub fn share(&self) -> io::Result<OwnedFd> {
        let memory = self.memory().ok_or(io::ErrorKind::Unsupported)?;
        memory.as_fd().try_clone_to_owned()
    }

    /// The session's own mapping, if it has one.
    pub fn memory(&self) -> Option<&Mapping> {
        self.member.memory.as_deref()
    }

    /// Beats every `interval` in a thread of its own, until the result is dropped or the
    /// partition is evicted: for peers on other kernels, which go by heartbeats alone.
    ///
    /// # Errors
    ///
    /// No thread can be started.
    pub fn beat_every(self: &Arc<Self>, interval: Duration) -> io::Result<Beating> {
        let (stop, stopped) = channel();
        let session = Arc::clone(self);
        let beat = move || {
            let is_time = || stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout);
            while session.beat().is_ok() && is_time() {}
        };
        let thread = Builder::new().name("heartbeat".into()).spawn(beat)?;
        Ok(Beating {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

/// A thread that beats for a session; dropped, it ends.
#[must_use = "the thread ends when this is dropped"]
pub struct Beating {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Beating {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
