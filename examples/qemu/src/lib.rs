//! QEMU machines that share a region of memory with the monitor: starts them, watches them,
//! finds them again and ends them.
//!
//! | module           | one purpose                                                   |
//! |------------------|---------------------------------------------------------------|
//! | [`plan`]         | the description of a machine, and its checks                   |
//! | `command_line`   | QEMU's arguments for a plan                                    |
//! | [`start`]        | starting a machine from a plan                                 |
//! | [`machine`]      | a machine that runs, and its end                               |
//! | [`event`]        | the states and events of a machine                             |
//! | `monitor`        | the connection to QEMU, kept by a thread                       |
//! | `qmp`            | reading and writing the lines of QEMU's protocol               |
//! | [`process`]      | a process that may be another's child                          |
//! | `output`         | QEMU's own output, in bounded memory                           |
//!
//! - **M1** QEMU outlives the process that started it: it is in a session of its own, its output
//!   goes to memory and not to a pipe, and it holds the region itself.
//! - **M2** Every wait for QEMU has a deadline: one thread reads its messages, and a command
//!   without an answer in time is an error.
//! - **M3** QEMU gets no path, name or number from a guest, and what a guest can make it print or
//!   report is bounded.
//! - **M4** A process number never stands for another process: the start time of the process is
//!   noted, and a descriptor holds it.

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
