//! What happens around each access to shared memory: cache maintenance, fault injection.
//!
//! Both are features. Without them, and in models, these functions do nothing.

#[cfg(all(feature = "noncoherent", not(loom)))]
pub(super) use super::cache::{clean, invalidate};

/// After a store: nothing to do where caches are coherent.
#[cfg(any(not(feature = "noncoherent"), loom))]
#[inline(always)]
pub(super) fn clean<T>(_: *const T, _: usize) {}

/// Before a load: nothing to do where caches are coherent.
#[cfg(any(not(feature = "noncoherent"), loom))]
#[inline(always)]
pub(super) fn invalidate<T>(_: *const T, _: usize) {}

#[cfg(all(feature = "crash", not(loom)))]
pub(super) use super::crash::{is_watched, store_happens};

/// Whether a store may happen: always, but in tests of recovery.
#[cfg(any(not(feature = "crash"), loom))]
#[inline(always)]
pub(super) fn store_happens() -> bool {
    true
}

/// Whether a copy is to be made in two stores, which a death can part.
#[cfg(any(not(feature = "crash"), loom))]
#[inline(always)]
pub(super) fn is_watched() -> bool {
    false
}
