//! What a backend is made from.

use std::path::PathBuf;

use crate::kind::Kind;
use crate::rundir::RunDir;

/// The programs of which instances consist.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) kmon: PathBuf,
    pub(crate) guestd: PathBuf,
    pub(crate) ivshmem_server: PathBuf,
}

/// What a backend is made from.
pub(crate) struct Launch<'a> {
    pub(crate) number: u8,
    pub(crate) name: &'a str,
    pub(crate) kind: &'a Kind,
    pub(crate) programs: &'a Programs,
    pub(crate) rundir: &'a RunDir,
}
