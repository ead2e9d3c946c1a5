//! The guest daemon's program.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match guestd::run(&guestd::Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            guestd::log(format_args!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}
