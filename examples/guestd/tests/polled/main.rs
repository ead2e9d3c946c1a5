//! The tests of `daemon` with ends that poll for records: there the command loop also reads the
//! console's terminal.

mod command_loop;
#[path = "../daemon/console.rs"]
mod console;
#[path = "../daemon/deaths.rs"]
mod deaths;
#[path = "../daemon/exec.rs"]
mod exec;
#[path = "../daemon/files.rs"]
mod files;
#[path = "../daemon/kernel.rs"]
mod kernel;
#[path = "../daemon/lifecycle.rs"]
mod lifecycle;
#[path = "../daemon/monitor.rs"]
mod monitor;
#[path = "../daemon/output.rs"]
mod output;
#[path = "../daemon/waiting.rs"]
mod waiting;

/// Both ends poll for records, instead of waking each other.
const POLLS: bool = true;
