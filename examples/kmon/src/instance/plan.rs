//! The settings of a run.

use std::sync::Arc;

use kmon_protocol::Settings;

use super::outbox::Outbox;
use super::shared::Shared;
use crate::backend::{BackendRecord, Launch, Programs};
use crate::kind::Kind;
use crate::notices::Notices;
use crate::rundir::{Record, RunDir};

/// The settings of a run.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) settings: Settings,
    pub(crate) kind: Kind,
    pub(crate) programs: Programs,
    pub(crate) shared: Arc<Shared>,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) notices: Arc<Notices>,
    pub(crate) rundir: Arc<RunDir>,
}

impl Plan {
    /// Returns the record by which the next KMON finds the instance.
    pub(crate) fn record(&self, backend: Option<BackendRecord>) -> Record {
        Record {
            number: self.settings.partition,
            name: self.settings.name.clone(),
            kind: self.kind.clone(),
            backend,
        }
    }

    pub(super) fn launch(&self) -> Launch<'_> {
        Launch {
            number: self.settings.partition,
            name: &self.settings.name,
            kind: &self.kind,
            programs: &self.programs,
            rundir: &self.rundir,
        }
    }
}
