//! QEMU machines that share a region of memory with the monitor: started, watched,
//! found again, ended.
//!
//! | module           | one purpose                                                   |
//! |------------------|---------------------------------------------------------------|
//! | [`plan`]         | what a machine is made of, and what cannot be                  |
//! | `command_line`   | QEMU's arguments for a plan                                    |
//! | [`start`]        | a plan becomes a process                                       |
//! | [`machine`]      | a machine that runs, and its end                               |
//! | [`event`]        | what a machine is at, and what happens to it                   |
//! | `monitor`        | the connection to QEMU, kept by a thread                       |
//! | `qmp`            | QEMU's lines, read and written                                 |
//! | [`process`]      | a process that may be another's child                          |
//! | `output`         | what QEMU prints, in bounded memory                            |
//!
//! - **M1** QEMU outlives whoever started it: it is in a session of its own, its output goes
//!   to memory and not to a pipe, and it holds the region itself.
//! - **M2** Nobody waits for QEMU longer than a deadline: one thread reads what it says, and
//!   a command that is not answered in time is an error.
//! - **M3** QEMU is told no path, name or number that comes from a guest, and what a guest can
//!   make it print or report is bounded.
//! - **M4** A process number is never taken for another process: its start is remembered,
//!   and it is held by a descriptor.

pub mod event;
pub mod machine;
pub mod plan;
pub mod process;
pub mod start;

mod command_line;
mod monitor;
mod output;
mod qmp;

pub use event::{End, Event, Off, Status};
pub use machine::{FindError, Machine, MachineRecord};
pub use plan::{Accelerator, Boot, Plan, PlanError, Transport, VECTORS};
pub use process::Process;
pub use qmp::QmpError;
pub use start::StartError;
