//! Deaths and stalls of real processes at random moments.

mod arguments;
mod attachments;
mod deaths;
mod process;
mod recovery;
mod round;
mod run;
mod stalls;
mod worker;

pub(crate) use arguments::{Arguments, COMMAND, Detection};
pub(crate) use run::Processes;
pub(crate) use worker::run as run_worker;
