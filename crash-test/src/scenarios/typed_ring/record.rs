//! The type of a typed ring's records here.

/// Which record it is, and whether it is whole: a [`Tag`](crate::scenarios::tag::Tag).
pub(super) type Record = [u8; 24];
