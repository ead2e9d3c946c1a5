//! A session together with the memory that it is in.

use core::ops::Deref;
use core::time::Duration;
use std::boxed::Box;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::mpsc::{channel, RecvTimeoutError, Sender};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use shmem_core::{Mapping, Window};

use super::platforms::SameKernel;
use crate::error::Error;
use crate::platform::Platform;
use crate::session::{Session, SessionOptions};

/// A [`Session`] that owns its mapping: what it opens borrows from it, and when it is
/// dropped, the partition leaves and the memory is unmapped.
pub struct OwnedSession {
    /// Ends the thread that beats, when it is dropped.
    heart: Option<(Sender<()>, JoinHandle<()>)>,
    own: Arc<Own>,
}

/// - **O1** `session` is dropped before `memory`, and nothing that is opened through it
///   outlives an `Arc` of this.
struct Own {
    session: Session<'static>,
    memory: Mapping,
}

impl SessionOptions {
    /// Creates a region in `memory` and joins it.
    ///
    /// # Errors
    ///
    /// As [`SessionOptions::create`].
    pub fn create_in(
        self,
        memory: Mapping,
        platform: &'static dyn Platform,
    ) -> Result<OwnedSession, Error> {
        OwnedSession::new(memory, |window| self.create(window, platform))
    }

    /// Joins the region in `memory`.
    ///
    /// # Errors
    ///
    /// As [`SessionOptions::join`].
    pub fn join_in(
        self,
        memory: Mapping,
        platform: &'static dyn Platform,
    ) -> Result<OwnedSession, Error> {
        OwnedSession::new(memory, |window| self.join(window, platform))
    }
}

impl OwnedSession {
    fn new(
        memory: Mapping,
        open: impl FnOnce(Window<'static>) -> Result<Session<'static>, Error>,
    ) -> Result<Self, Error> {
        let window = memory.window();
        // SAFETY: mapped until `memory` is dropped, which is after all that can reach it (O1).
        let window = unsafe { Window::from_raw(window.address(), window.len()) };
        let window = window.expect("a mapping is page-aligned");
        let session = open(window)?;
        Ok(Self {
            heart: None,
            own: Arc::new(Own { session, memory }),
        })
    }

    /// Creates a region of `len` bytes in a file, and joins it as `partition`. The file is
    /// made if it is not there; an earlier region in it is gone afterwards.
    ///
    /// # Errors
    ///
    /// The file cannot be made or mapped, or has another length; [`SessionOptions::create`].
    pub fn create(path: impl AsRef<Path>, len: usize, partition: u8) -> Result<Self, Error> {
        let memory = Mapping::file(path.as_ref(), Some(len))?;
        SessionOptions::new(partition).create_in(memory, &SameKernel)
    }

    /// Joins the region in a file as `partition`.
    ///
    /// # Errors
    ///
    /// The file is not there or cannot be mapped; [`SessionOptions::join`].
    pub fn join(path: impl AsRef<Path>, partition: u8) -> Result<Self, Error> {
        let memory = Mapping::file(path.as_ref(), None)?;
        SessionOptions::new(partition).join_in(memory, &SameKernel)
    }

    /// Creates a region of `len` bytes in memory without a name, and joins it as
    /// `partition`. Peers get it by its descriptor ([`OwnedSession::share`]).
    ///
    /// # Errors
    ///
    /// There is not so much memory; [`SessionOptions::create`].
    pub fn memfd(name: &str, len: usize, partition: u8) -> Result<Self, Error> {
        let memory = Mapping::memfd(name, len)?;
        SessionOptions::new(partition).create_in(memory, &SameKernel)
    }

    /// Joins the region behind a descriptor as `partition`.
    ///
    /// # Errors
    ///
    /// It cannot be mapped; [`SessionOptions::join`].
    pub fn join_fd(memory: OwnedFd, partition: u8) -> Result<Self, Error> {
        let memory = Mapping::from_fd(memory)?;
        SessionOptions::new(partition).join_in(memory, &SameKernel)
    }

    /// A descriptor of the memory, for [`OwnedSession::join_fd`] in this process, in a child,
    /// or in a process that it is [sent](crate::send_memory) to.
    ///
    /// # Errors
    ///
    /// The kernel's reason.
    pub fn share(&self) -> io::Result<OwnedFd> {
        self.own.memory.as_fd().try_clone_to_owned()
    }

    /// The mapping.
    pub fn memory(&self) -> &Mapping {
        &self.own.memory
    }

    /// Beats every `interval` in a thread of its own, until the session is dropped or the
    /// partition is evicted: for peers on other kernels, which go by heartbeats alone.
    ///
    /// # Errors
    ///
    /// No thread can be started.
    pub fn beat_every(&mut self, interval: Duration) -> io::Result<()> {
        self.stop_beating();
        let (stop, stopped) = channel();
        let own = Arc::clone(&self.own);
        let beat = move || {
            let is_time = || stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout);
            while own.session.beat().is_ok() && is_time() {}
        };
        let thread = Builder::new().name("heartbeat".into()).spawn(beat)?;
        self.heart = Some((stop, thread));
        Ok(())
    }

    fn stop_beating(&mut self) {
        if let Some((stop, thread)) = self.heart.take() {
            drop(stop);
            let _ = thread.join();
        }
    }

    /// The session until this process ends, for threads that are not scoped.
    pub fn leak(self) -> &'static Session<'static> {
        Box::leak(Box::new(self))
    }
}

impl Deref for OwnedSession {
    type Target = Session<'static>;

    fn deref(&self) -> &Session<'static> {
        &self.own.session
    }
}

impl Drop for OwnedSession {
    fn drop(&mut self) {
        self.stop_beating();
    }
}
