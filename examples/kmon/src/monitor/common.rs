//! The settings that all instances share.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::backend::Programs;
use crate::disklog::DiskLogs;
use crate::notices::Notices;
use crate::rundir::RunDir;

/// The settings that all instances share.
pub(crate) struct Common {
    pub(crate) programs: Programs,
    pub(crate) period: Duration,
    pub(crate) logs: LogBytes,
    /// `None` if they are switched off.
    pub(crate) disk_logs: Option<DiskLogs>,
    /// The shell of instances that name none.
    pub(crate) shell: Option<PathBuf>,
    pub(crate) notices: Arc<Notices>,
    pub(crate) rundir: Arc<RunDir>,
}

/// How many bytes are kept of an instance's output and of its kernel's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogBytes {
    pub(crate) output: usize,
    pub(crate) kernel: usize,
}
