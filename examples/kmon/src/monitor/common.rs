//! The settings that all instances share.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::api::fault::{Code, refuse};
use crate::backend::Programs;
use crate::disklog::{DiskLogs, LogName};
use crate::instance::logged;
use crate::instance::shared::Shared;
use crate::notices::Notices;
use crate::rundir::RunDir;

/// The settings that all instances share.
pub(crate) struct Common {
    pub(crate) programs: Programs,
    pub(crate) period: Duration,
    pub(crate) logs: LogBytes,
    /// `None` if they are switched off.
    pub(crate) disk_logs: Option<Arc<DiskLogs>>,
    /// The shell of instances that name none.
    pub(crate) shell: Option<PathBuf>,
    pub(crate) notices: Arc<Notices>,
    pub(crate) rundir: Arc<RunDir>,
}

impl Common {
    /// Returns the logs on disk.
    ///
    /// # Errors
    /// They are switched off.
    pub(crate) fn disk_logs(&self) -> anyhow::Result<&Arc<DiskLogs>> {
        match &self.disk_logs {
            Some(logs) => Ok(logs),
            None => refuse(
                Code::Conflict,
                "logs on disk are switched off (kmon.toml: [logs] enabled)",
            ),
        }
    }

    /// Writes the output of instance `number` to the logs on disk from now on.
    pub(super) fn log_to_disk(&self, number: u8, name: &str, shared: &Arc<Shared>) {
        if let Some(logs) = &self.disk_logs {
            let owner = format!("instance {number} ({name})");
            let output = Arc::new(logged::Output(Arc::clone(shared)));
            let kernel = Arc::new(logged::Kernel(Arc::clone(shared)));
            shared.write_to(
                logs.add(LogName::Output(number), &owner, output),
                logs.add(LogName::Kernel(number), &owner, kernel),
            );
        }
    }

    /// Writes what was printed to the logs on disk, before the kept output is removed.
    pub(crate) fn flush_logs(&self) {
        if let Some(logs) = &self.disk_logs {
            // A disk that does not work was reported.
            logs.flush();
        }
    }

    /// Removes all files of instance `number`, apart from its logs on disk.
    pub(super) fn forget(&self, number: u8) {
        self.rundir.forget(number);
        if let Some(logs) = &self.disk_logs {
            logs.forget(number);
        }
    }
}

/// How many bytes are kept of an instance's output and of its kernel's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogBytes {
    pub(crate) output: usize,
    pub(crate) kernel: usize,
}
