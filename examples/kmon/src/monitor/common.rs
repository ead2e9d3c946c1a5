//! What all instances are made with.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::backend::Programs;
use crate::notices::Notices;
use crate::rundir::RunDir;

/// What all instances are made with.
pub(crate) struct Common {
    pub(crate) programs: Programs,
    pub(crate) period: Duration,
    pub(crate) logs: LogBytes,
    /// The shell of instances that name none.
    pub(crate) shell: Option<PathBuf>,
    pub(crate) notices: Arc<Notices>,
    pub(crate) rundir: Arc<RunDir>,
}

/// How much is kept of what an instance prints, and of what its kernel says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogBytes {
    pub(crate) output: usize,
    pub(crate) kernel: usize,
}
