//! How a sleeping peer is woken: the caller's function, or the kernel's futex.

use core::ffi::{c_int, c_void};

use shmem_core::doorbell::{Doorbell, NoDoorbell};
use shmem_core::primitive::AtomicU32;
use shmem_sync::raw::{DoorbellRef, RawMutex, RawRwLock, RawSemaphore};
use shmem_sync::Barrier;
#[cfg(feature = "linux")]
use shmem_sync::FutexBell;

use crate::handle::value;
use crate::status::Outcome;
use crate::word::Argument;

/// struct shmr_doorbell - wakes a peer: by a futex, an eventfd, a hypercall or an interrupt
/// @ring:    wakes one partition that sleeps on @ring_count, or all of them if @all is not 0. An
///           unnecessary call is harmless
/// @context: passed to @ring
///
/// A NULL pointer to this struct, or a NULL @ring, means no doorbell: the peer polls.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct shmr_doorbell {
    pub ring:
        Option<unsafe extern "C" fn(context: *mut c_void, ring_count: *const u32, all: c_int)>,
    pub context: *mut c_void,
}

/// A doorbell of the caller.
#[derive(Clone, Copy)]
pub(crate) struct Bell(shmr_doorbell);

impl Bell {
    /// # Safety
    ///
    /// Null, or a doorbell whose function can be called while this is used.
    pub(crate) unsafe fn from_ptr(doorbell: *const shmr_doorbell) -> Outcome<Self> {
        const NONE: shmr_doorbell = shmr_doorbell {
            ring: None,
            context: core::ptr::null_mut(),
        };
        if doorbell.is_null() {
            return Ok(Self(NONE));
        }
        // SAFETY: guaranteed by the caller.
        unsafe { value(doorbell, Argument::Doorbell) }.map(|doorbell| Self(*doorbell))
    }

    fn call(&self, ring_count: &AtomicU32, all: bool) {
        if let Some(ring) = self.0.ring {
            // SAFETY: as `from_ptr` demands.
            unsafe { ring(self.0.context, ring_count.as_ptr(), all.into()) }
        }
    }
}

// SAFETY: no reference to it leaves its handle, which one thread uses at a time.
unsafe impl Sync for Bell {}

/// The doorbell of a lock whose own one is not set yet.
pub(crate) const NO_BELL: DoorbellRef<'static> = &NoDoorbell;

/// A lock that refers to the doorbell that it rings.
pub(crate) trait Rings {
    fn set_bell(&mut self, bell: DoorbellRef<'static>);
}

/// Implements [`Rings`] by the lock's own `set_bell`.
macro_rules! rings {
    ($($lock:ty),*) => {
        $(impl Rings for $lock {
            fn set_bell(&mut self, bell: DoorbellRef<'static>) {
                <$lock>::set_bell(self, bell);
            }
        })*
    };
}

rings!(
    RawMutex<'static>,
    RawRwLock<'static>,
    RawSemaphore<'static>,
    Barrier<'static>
);

/// A lock, stored with the doorbell that it rings.
pub(crate) struct WithBell<L> {
    lock: L,
    bell: Bell,
}

impl<L: Rings> WithBell<L> {
    /// Stores a lock that was attached with [`NO_BELL`].
    pub(crate) fn new(lock: L, bell: Bell) -> Self {
        Self { lock, bell }
    }

    /// Returns the lock, for calls that may ring.
    pub(crate) fn lock(&mut self) -> &mut L {
        let bell: *const Bell = &self.bell;
        // SAFETY: it is stored with the lock, and is set again before each call that may ring.
        self.lock.set_bell(unsafe { &*bell });
        &mut self.lock
    }

    /// Returns the lock, for calls that do not ring.
    pub(crate) fn silent(&self) -> &L {
        &self.lock
    }
}

impl Doorbell for Bell {
    fn ring(&self, ring_count: &AtomicU32) {
        self.call(ring_count, false);
    }

    fn ring_all(&self, ring_count: &AtomicU32) {
        self.call(ring_count, true);
    }
}

/// shmr_doorbell_futex() - the doorbell of peers that wait by shmr_wait_futex()
///
/// Return: the doorbell.
#[cfg(feature = "linux")]
#[no_mangle]
pub extern "C" fn shmr_doorbell_futex() -> shmr_doorbell {
    shmr_doorbell {
        ring: Some(ring_futex),
        context: core::ptr::null_mut(),
    }
}

#[cfg(feature = "linux")]
unsafe extern "C" fn ring_futex(_: *mut c_void, ring_count: *const u32, all: c_int) {
    // SAFETY: a word of the region, which `Bell::call` passed on.
    let ring_count = unsafe { AtomicU32::from_ptr(ring_count.cast_mut()) };
    match all {
        0 => FutexBell.ring(ring_count),
        _ => FutexBell.ring_all(ring_count),
    }
}
