//! The two ends of an instance's region.
