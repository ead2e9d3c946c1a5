//! The same as in `daemon`, of ends that look for records: there the command loop reads the
//! console's terminal, too.

#[path = "../daemon/console.rs"]
mod console;
#[path = "../daemon/deaths.rs"]
mod deaths;
#[path = "../daemon/exec.rs"]
mod exec;
mod here;
#[path = "../daemon/incarnation.rs"]
mod incarnation;
#[path = "../daemon/kernel.rs"]
mod kernel;
#[path = "../daemon/monitor.rs"]
mod monitor;
#[path = "../daemon/output.rs"]
mod output;
#[path = "../daemon/waiting.rs"]
mod waiting;

/// Whether both ends look for records, or wake each other.
const POLLS: bool = true;
