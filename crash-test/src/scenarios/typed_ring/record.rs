//! The record type of the typed ring.

/// The bytes of a [`Tag`](crate::scenarios::tag::Tag), with its identity and checksum.
pub(super) type Record = [u8; 24];
