//! What is looked at.

use shmem_core::Window;

use crate::report::Source;

/// What is looked at.
#[derive(Clone, Copy)]
pub struct Subject<'m> {
    /// What the user calls it.
    pub place: &'m str,
    /// Where the region starts in it.
    pub offset: u64,
    pub memory: Window<'m>,
    /// Bytes of `memory` that are really there: fewer of a dump that was cut off,
    /// and zero behind.
    pub there: usize,
    pub source: Source,
}
