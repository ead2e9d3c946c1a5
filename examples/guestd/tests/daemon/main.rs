//! The real daemon, driven through a real region as KMON drives it.

mod console;
mod deaths;
mod exec;
mod incarnation;
mod kernel;
mod monitor;
mod output;
mod waiting;

/// Whether both ends look for records, or wake each other.
const POLLS: bool = false;
