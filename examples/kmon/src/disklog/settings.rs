//! Where logs are written, and how much of them is kept.

use std::path::PathBuf;

use super::chain::Bound;

/// Where logs are written, and how much of them is kept.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) directory: PathBuf,
    pub(crate) bound: Bound,
}
