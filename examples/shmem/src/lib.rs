//! `shmem`: looks at a region of shared memory, live or dumped, and never writes to it.
//!
//! | module      | one purpose                                                |
//! |-------------|------------------------------------------------------------|
//! | `cli`       | the command line                                           |
//! | [`place`]   | where a region is                                          |
//! | `open`      | opening the memory of a place                              |
//! | `memory`    | memory that is mapped read-only, or read                   |
//! | `fault`     | what happens when mapped memory goes away                  |
//! | [`look`]    | everything in a region, and what is wrong with it          |
//! | [`finding`] | one thing that is wrong                                    |
//! | [`report`]  | what a look came to, as JSON has it                        |
//! | [`show`]    | the same for a person                                      |
//! | `text`      | numbers and foreign text                                   |
//! | `inspect`, `dump` | the two commands                                     |
//!
//! What can be looked at is looked at by the libraries, which are load-only there;
//! what is held against each other, and is no part of a normal call, is held here.

mod cli;
mod dump;
mod fault;
pub mod finding;
mod inspect;
pub mod look;
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
        // Without standard error the exit status has to do.
        let text = text::printable(&format!("{error:#}"));
        let _ = writeln!(io::stderr(), "shmem: {text}");
        ExitCode::from(UNREADABLE)
    })
}
