//! The operating system's locks that processes can share.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;

/// A robust, process-shared mutex.
///
/// - **P1** It is initialised when made, destroyed when dropped, and never moved in between.
pub struct RobustMutex(Box<UnsafeCell<libc::pthread_mutex_t>>);

// SAFETY: all threads may call its functions.
unsafe impl Sync for RobustMutex {}

impl RobustMutex {
    /// Returns a free mutex.
    #[allow(clippy::new_without_default)] // It is an object of the system, not a value.
    pub fn new() -> Self {
        let mutex = Self(Box::new(UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER)));
        let mut attributes = MaybeUninit::uninit();
        let attributes = attributes.as_mut_ptr();
        // SAFETY: there is room for attributes.
        check_status(unsafe { libc::pthread_mutexattr_init(attributes) });
        let (shared, robust) = (libc::PTHREAD_PROCESS_SHARED, libc::PTHREAD_MUTEX_ROBUST);
        // SAFETY: initialised above.
        check_status(unsafe { libc::pthread_mutexattr_setpshared(attributes, shared) });
        // SAFETY: as above.
        check_status(unsafe { libc::pthread_mutexattr_setrobust(attributes, robust) });
        // SAFETY: there is room for a mutex, and it is not used yet.
        check_status(unsafe { libc::pthread_mutex_init(mutex.0.get(), attributes) });
        // SAFETY: initialised above, and not used after this.
        check_status(unsafe { libc::pthread_mutexattr_destroy(attributes) });
        mutex
    }

    /// Acquires the mutex, and waits until it is free.
    #[inline]
    pub fn lock(&self) {
        // SAFETY: P1.
        check_status(unsafe { libc::pthread_mutex_lock(self.0.get()) });
    }

    /// Releases the mutex.
    #[inline]
    pub fn unlock(&self) {
        // SAFETY: P1; if another thread has it, the call returns an error.
        check_status(unsafe { libc::pthread_mutex_unlock(self.0.get()) });
    }
}

impl Drop for RobustMutex {
    fn drop(&mut self) {
        // SAFETY: P1; it is not used any more.
        unsafe { libc::pthread_mutex_destroy(self.0.get()) };
    }
}

/// A process-shared semaphore.
///
/// - **S1** It is initialised when made, destroyed when dropped, and never moved in between.
pub struct Semaphore(Box<UnsafeCell<libc::sem_t>>);

// SAFETY: all threads may call its functions.
unsafe impl Sync for Semaphore {}

impl Semaphore {
    /// Returns a semaphore with `permits` permits.
    pub fn new(permits: u32) -> Self {
        let room = MaybeUninit::<libc::sem_t>::zeroed();
        // SAFETY: plain bytes, and zero is a valid value.
        let semaphore = Self(Box::new(UnsafeCell::new(unsafe { room.assume_init() })));
        // SAFETY: there is room for a semaphore, and it is not used yet.
        check_status(unsafe { libc::sem_init(semaphore.0.get(), 1, permits) });
        semaphore
    }

    /// Acquires a permit, and waits until there is one.
    #[inline]
    pub fn acquire(&self) {
        // SAFETY: S1. The call fails only if a signal interrupts it, and there are no signals.
        check_status(unsafe { libc::sem_wait(self.0.get()) });
    }

    /// Releases a permit.
    #[inline]
    pub fn release(&self) {
        // SAFETY: S1.
        check_status(unsafe { libc::sem_post(self.0.get()) });
    }
}

impl Drop for Semaphore {
    fn drop(&mut self) {
        // SAFETY: S1; it is not used any more.
        unsafe { libc::sem_destroy(self.0.get()) };
    }
}

#[inline]
fn check_status(status: libc::c_int) {
    assert_eq!(status, 0, "the call fails");
}
