//! The incarnation of a partition: the only module that names the library's type.

pub(crate) use shmem_core::Incarnation;

/// The next incarnation of a partition.
pub(crate) fn next(incarnation: Incarnation) -> Incarnation {
    let next = Incarnation::next(incarnation.partition(), incarnation.number());
    next.unwrap_or(incarnation)
}
