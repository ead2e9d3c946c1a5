//! Telling the half of an end that receives of what the other half has sent, in one process.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shmem_core::doorbell::Doorbell;
use shmem_core::primitive::AtomicU32;
use shmem_sync::EventBell;

/// Ends one delay early, or a sleep, in this process: whoever has sent something expects an
/// answer.
#[derive(Clone, Default)]
pub(super) struct Nudge(Arc<Nudged>);

#[derive(Default)]
struct Nudged {
    call: Mutex<Call>,
    changed: Condvar,
    /// What the end sleeps on.
    bell: Option<Arc<EventBell>>,
}

#[derive(Default)]
struct Call {
    given: bool,
    /// Whether the end sleeps until the bell rings.
    lies: bool,
}

impl Nudge {
    /// For an end that sleeps on `bell`.
    pub(super) fn new(bell: Option<Arc<EventBell>>) -> Self {
        Self(Arc::new(Nudged {
            bell,
            ..Nudged::default()
        }))
    }

    pub(super) fn give(&self) {
        let mut call = self.call();
        call.given = true;
        let bell = self.0.bell.as_ref().filter(|_| call.lies);
        drop(call);
        match bell {
            Some(bell) => bell.ring(&AtomicU32::new(0)),
            None => self.0.changed.notify_one(),
        }
    }

    /// Waits up to `delay`; whether it was given.
    pub(super) fn wait(&self, delay: Duration) -> bool {
        let mut call = self.call();
        if !call.given {
            let waited = self.0.changed.wait_timeout(call, delay);
            call = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        std::mem::take(&mut call.given)
    }

    /// The end is about to sleep on the bell; false if it was given already.
    pub(super) fn lie_down(&self) -> bool {
        let mut call = self.call();
        call.lies = !call.given;
        call.lies
    }

    /// The end is awake; whether it was given.
    pub(super) fn take(&self) -> bool {
        std::mem::take(&mut *self.call()).given
    }

    fn call(&self) -> MutexGuard<'_, Call> {
        self.0.call.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nudge_ends_one_delay_even_if_it_comes_before() {
        let nudge = Nudge::default();
        nudge.give();
        assert!(nudge.wait(Duration::MAX));
        assert!(!nudge.wait(Duration::from_millis(1)));
    }
}
