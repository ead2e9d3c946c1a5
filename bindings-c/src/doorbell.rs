//! How a sleeping peer is woken: the caller's function, or the kernel's futex.

use core::ffi::{c_int, c_void};

use shmem_core::doorbell::Doorbell;
use shmem_core::primitive::AtomicU32;
#[cfg(feature = "linux")]
use shmem_sync::FutexBell;

use crate::handle::value;
use crate::status::Outcome;
use crate::word::Argument;

/// struct shmr_doorbell - wakes a peer: a futex, an eventfd, a hypercall, an interrupt
/// @ring:    wakes one who sleeps on @rings, or all if @all is not 0; too often is harmless
/// @context: passed to it
///
/// A NULL in its place, or a NULL @ring, is no doorbell: the peer polls.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct shmr_doorbell {
    pub ring: Option<unsafe extern "C" fn(context: *mut c_void, rings: *const u32, all: c_int)>,
    pub context: *mut c_void,
}

/// A doorbell of the caller's.
#[derive(Clone, Copy)]
pub(crate) struct Bell(shmr_doorbell);

impl Bell {
    /// # Safety
    ///
    /// Null, or a doorbell whose function can be called for as long as this is used.
    pub(crate) unsafe fn by(doorbell: *const shmr_doorbell) -> Outcome<Self> {
        const SILENT: shmr_doorbell = shmr_doorbell {
            ring: None,
            context: core::ptr::null_mut(),
        };
        if doorbell.is_null() {
            return Ok(Self(SILENT));
        }
        // SAFETY: the caller's.
        unsafe { value(doorbell, Argument::Doorbell) }.map(|doorbell| Self(*doorbell))
    }

    fn call(&self, rings: &AtomicU32, all: bool) {
        if let Some(ring) = self.0.ring {
            // SAFETY: as `by` demands.
            unsafe { ring(self.0.context, rings.as_ptr(), all.into()) }
        }
    }
}

impl Doorbell for Bell {
    fn ring(&self, rings: &AtomicU32) {
        self.call(rings, false);
    }

    fn ring_all(&self, rings: &AtomicU32) {
        self.call(rings, true);
    }
}

/// shmr_doorbell_futex() - the doorbell of peers that wait by shmr_wait_futex()
#[cfg(feature = "linux")]
#[no_mangle]
pub extern "C" fn shmr_doorbell_futex() -> shmr_doorbell {
    shmr_doorbell {
        ring: Some(ring_futex),
        context: core::ptr::null_mut(),
    }
}

#[cfg(feature = "linux")]
unsafe extern "C" fn ring_futex(_: *mut c_void, rings: *const u32, all: c_int) {
    // SAFETY: a word of the region, which `Bell::call` passed on.
    let rings = unsafe { AtomicU32::from_ptr(rings.cast_mut()) };
    match all {
        0 => FutexBell.ring(rings),
        _ => FutexBell.ring_all(rings),
    }
}
