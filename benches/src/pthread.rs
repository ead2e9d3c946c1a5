//! The operating system's locks that processes can share.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;

/// A robust, process-shared mutex.
///
/// - **P1** Initialised when made, destroyed when dropped, and never moved between.
pub struct RobustMutex(Box<UnsafeCell<libc::pthread_mutex_t>>);

// SAFETY: the calls on it are made for use from any thread.
unsafe impl Sync for RobustMutex {}

impl RobustMutex {
    /// A free one.
    #[allow(clippy::new_without_default)] // It is a thing of the system's, not a value.
    pub fn new() -> Self {
        let mutex = Self(Box::new(UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER)));
        let mut attributes = MaybeUninit::uninit();
        let attributes = attributes.as_mut_ptr();
        // SAFETY: room for attributes.
        done(unsafe { libc::pthread_mutexattr_init(attributes) });
        let (shared, robust) = (libc::PTHREAD_PROCESS_SHARED, libc::PTHREAD_MUTEX_ROBUST);
        // SAFETY: initialised above.
        done(unsafe { libc::pthread_mutexattr_setpshared(attributes, shared) });
        // SAFETY: as above.
        done(unsafe { libc::pthread_mutexattr_setrobust(attributes, robust) });
        // SAFETY: room for a mutex that nobody uses yet.
        done(unsafe { libc::pthread_mutex_init(mutex.0.get(), attributes) });
        // SAFETY: initialised above, and not used after.
        done(unsafe { libc::pthread_mutexattr_destroy(attributes) });
        mutex
    }

    /// Waits for it and takes it.
    #[inline]
    pub fn lock(&self) {
        // SAFETY: P1.
        done(unsafe { libc::pthread_mutex_lock(self.0.get()) });
    }

    /// Gives it back.
    #[inline]
    pub fn unlock(&self) {
        // SAFETY: P1; at worst an error, that it is not ours.
        done(unsafe { libc::pthread_mutex_unlock(self.0.get()) });
    }
}

impl Drop for RobustMutex {
    fn drop(&mut self) {
        // SAFETY: P1; nobody has it any more.
        unsafe { libc::pthread_mutex_destroy(self.0.get()) };
    }
}

/// A process-shared semaphore.
///
/// - **S1** Initialised when made, destroyed when dropped, and never moved between.
pub struct Semaphore(Box<UnsafeCell<libc::sem_t>>);

// SAFETY: the calls on it are made for use from any thread.
unsafe impl Sync for Semaphore {}

impl Semaphore {
    /// One with so many permits.
    pub fn new(permits: u32) -> Self {
        let room = MaybeUninit::<libc::sem_t>::zeroed();
        // SAFETY: bytes of the system's, for which zero is as good as anything.
        let semaphore = Self(Box::new(UnsafeCell::new(unsafe { room.assume_init() })));
        // SAFETY: room for a semaphore that nobody uses yet.
        done(unsafe { libc::sem_init(semaphore.0.get(), 1, permits) });
        semaphore
    }

    /// Waits for a permit and takes it.
    #[inline]
    pub fn acquire(&self) {
        // SAFETY: S1. It fails only where a signal interrupts it, and there is none.
        done(unsafe { libc::sem_wait(self.0.get()) });
    }

    /// Gives a permit back.
    #[inline]
    pub fn release(&self) {
        // SAFETY: S1.
        done(unsafe { libc::sem_post(self.0.get()) });
    }
}

impl Drop for Semaphore {
    fn drop(&mut self) {
        // SAFETY: S1; nobody uses it any more.
        unsafe { libc::sem_destroy(self.0.get()) };
    }
}

#[inline]
fn done(status: libc::c_int) {
    assert_eq!(status, 0, "the system refuses");
}
