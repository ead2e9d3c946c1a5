//! Locks that are found by name.

use bytemuck::Pod;
use shmem_registry::Kind;
use shmem_sync::{Mutex, RwLock, Semaphore};

use crate::error::Error;
use crate::session::Session;

/// Locks need compare-and-swap on their memory. Their calls take [`Session::waiter`] and
/// [`Session::liveness`].
impl Session<'_> {
    /// Opens the mutex `name`, which protects a `T`. The first partition that opens it creates it:
    /// not locked, with a value of zeroes.
    ///
    /// # Errors
    ///
    /// [`Error::Name`], [`Error::Evicted`], [`Error::Reformatted`]. [`Error::Open`] if the name
    /// belongs to another kind of segment, or there is no room. [`Error::Lock`] if the mutex
    /// protects another type.
    pub fn mutex<T: Pod>(&self, name: &str) -> Result<Mutex<'_, T>, Error> {
        let segment = self.segment(name, Kind::MUTEX, Mutex::<T>::SEGMENT_LEN)?;
        Mutex::attach(segment.window(), self.incarnation(), self.bell()).map_err(Error::Lock)
    }

    /// Opens the reader-writer lock `name`, which protects a `T`; otherwise like
    /// [`Session::mutex`].
    ///
    /// # Errors
    ///
    /// Those of [`Session::mutex`].
    pub fn rwlock<T: Pod>(&self, name: &str) -> Result<RwLock<'_, T>, Error> {
        let segment = self.segment(name, Kind::RWLOCK, RwLock::<T>::SEGMENT_LEN)?;
        RwLock::attach(segment.window(), self.incarnation(), self.bell()).map_err(Error::Lock)
    }

    /// Opens the semaphore `name`, which can have up to `capacity` permits, at most 1024. It is
    /// created without permits: [`Semaphore::add`] adds them.
    ///
    /// # Errors
    ///
    /// Those of [`Session::mutex`].
    pub fn semaphore(&self, name: &str, capacity: usize) -> Result<Semaphore<'_>, Error> {
        let segment = self.segment(name, Kind::SEMAPHORE, Semaphore::segment_len(capacity))?;
        Semaphore::attach(segment.window(), self.incarnation(), self.bell()).map_err(Error::Lock)
    }
}
