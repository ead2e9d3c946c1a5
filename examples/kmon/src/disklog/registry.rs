//! The logs that the writing thread is to write.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::name::LogName;
use super::source::{NoticeQueue, Source};

/// A log to write.
pub(super) struct Added {
    pub(super) name: LogName,
    pub(super) owner: String,
    pub(super) source: Arc<dyn Source>,
}

/// A change of the logs to write.
pub(super) enum Change {
    Added(Added),
    /// This instance was removed.
    Forgotten(u8),
}

/// The logs that are to be written.
pub(super) struct Registry {
    state: Mutex<State>,
    notices: Arc<NoticeQueue>,
}

#[derive(Default)]
struct State {
    changes: Vec<Change>,
    /// The outputs of which the logs are.
    ids: BTreeMap<LogName, u64>,
}

impl Registry {
    pub(super) fn new() -> Self {
        let registry = Self {
            state: Mutex::default(),
            notices: Arc::new(NoticeQueue::new()),
        };
        let source: Arc<dyn Source> = registry.notices.clone();
        registry.add(LogName::Kmon, "kmon".into(), source);
        registry
    }

    /// Returns KMON's notices that are not written yet.
    pub(super) fn notices(&self) -> &NoticeQueue {
        &self.notices
    }

    /// Adds a log. A log of the same name gets no more output.
    pub(super) fn add(&self, name: LogName, owner: String, source: Arc<dyn Source>) {
        let mut state = self.lock();
        state.ids.insert(name, source.id());
        state.changes.push(Change::Added(Added {
            name,
            owner,
            source,
        }));
    }

    /// Returns the changes since the last call.
    pub(super) fn take_changes(&self) -> Vec<Change> {
        std::mem::take(&mut self.lock().changes)
    }

    /// Returns the output of which the log is now.
    pub(super) fn id(&self, name: LogName) -> Option<u64> {
        self.lock().ids.get(&name).copied()
    }

    /// Notes that instance `number` was removed.
    pub(super) fn forget(&self, number: u8) {
        let mut state = self.lock();
        state.ids.retain(|name, _| !name.is_of(number));
        state.changes.push(Change::Forgotten(number));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
