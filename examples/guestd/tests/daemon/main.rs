//! Tests the real daemon through a real region, with the test in the role of KMON.

mod console;
mod deaths;
mod exec;
mod files;
mod kernel;
mod lifecycle;
mod monitor;
mod output;
mod waiting;

/// Both ends poll for records, instead of waking each other.
const POLLS: bool = false;
