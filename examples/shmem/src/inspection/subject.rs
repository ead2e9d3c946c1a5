//! The input of an inspection.

use shmem_core::Window;

use crate::report::Source;

/// The memory to inspect.
#[derive(Clone, Copy)]
pub struct Subject<'m> {
    /// The user's name for the place.
    pub place: &'m str,
    /// The offset of the region in the place.
    pub offset: u64,
    pub memory: Window<'m>,
    /// The number of available bytes of `memory`: fewer in a dump that was cut off. The rest is
    /// zero.
    pub available: usize,
    pub source: Source,
}
