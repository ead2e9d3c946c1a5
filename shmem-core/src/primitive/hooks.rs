//! Hooks around each access to shared memory: cache maintenance and fault injection.
//!
//! Both are features. Without them, and in models, the hooks do nothing.

#[cfg(all(feature = "noncoherent", not(loom)))]
pub(super) use super::cache::{clean, invalidate};

/// Called after a store: does nothing if caches are coherent.
#[cfg(any(not(feature = "noncoherent"), loom))]
#[inline(always)]
pub(super) fn clean<T>(_: *const T, _: usize) {}

/// Called before a load: does nothing if caches are coherent.
#[cfg(any(not(feature = "noncoherent"), loom))]
#[inline(always)]
pub(super) fn invalidate<T>(_: *const T, _: usize) {}

#[cfg(all(feature = "crash", not(loom)))]
pub(super) use super::crash::{is_watched, store_happens};

/// Returns true if the store may happen: always, except in tests of recovery.
#[cfg(any(not(feature = "crash"), loom))]
#[inline(always)]
pub(super) fn store_happens() -> bool {
    true
}

/// Returns true if a copy must consist of two stores, between which a test can stop it.
#[cfg(any(not(feature = "crash"), loom))]
#[inline(always)]
pub(super) fn is_watched() -> bool {
    false
}
