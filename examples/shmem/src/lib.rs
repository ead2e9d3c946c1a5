//! `shmem`: inspects a region of shared memory, live or dumped, and never writes to it.
//!
//! | module      | one purpose                                                |
//! |-------------|------------------------------------------------------------|
//! | `cli`       | the command line                                           |
//! | [`place`]   | the place of a region                                      |
//! | `open`      | opening the memory of a place                              |
//! | `memory`    | memory that is mapped read-only, or read                   |
//! | `fault`     | mapped memory that disappears                              |
//! | [`inspection`] | the content of a region, and what is wrong with it      |
//! | [`finding`] | one thing that is wrong                                    |
//! | [`report`]  | the result of an inspection, as JSON has it                |
//! | [`show`]    | the result as text                                         |
//! | `text`      | numbers, and text from the region                          |
//! | `inspect`, `dump` | the two commands                                     |
//!
//! The libraries read each object; they only load here. This crate compares the objects with
//! each other, which no normal call does.

mod cli;
mod dump;
mod fault;
pub mod finding;
mod inspect;
pub mod inspection;
mod memory;
mod open;
mod output;
pub mod place;
pub mod report;
pub mod show;
mod text;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Verb};
use output::UNREADABLE;

/// Runs the `shmem` program.
pub fn run() -> ExitCode {
    let done = match Cli::parse().verb {
        Verb::Inspect(args) => inspect::run(&args),
        Verb::Dump(args) => dump::run(&args),
    };
    done.unwrap_or_else(|error| {
        // Ignored: without standard error, only the exit status reports the failure.
        let text = text::printable(&format!("{error:#}"));
        let _ = writeln!(io::stderr(), "shmem: {text}");
        ExitCode::from(UNREADABLE)
    })
}
