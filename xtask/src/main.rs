//! The project's own commands: `cargo xtask COMMAND`.

mod bench;
mod cfg_test;
mod console;
mod debian;
mod demo;
mod guest;
mod header;
mod install;
mod interrupt;
mod invocation;
mod job;
mod kill;
mod layers;
mod process;
mod release;
mod test;
mod u_boot;
mod weaken;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The project's own commands
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::Arguments),
    GuestImage(guest::Arguments),
    Test(test::Arguments),
    Weaken(weaken::Arguments),
    Bench(bench::Arguments),
    Header(header::Arguments),
    Install(install::Arguments),
    Kill(kill::Arguments),
    Layers(layers::Arguments),
    Release(release::Arguments),
    UBoot(u_boot::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Demo(arguments) => demo::run(&arguments),
        Command::GuestImage(arguments) => guest::run(&arguments),
        Command::Test(arguments) => test::run(&arguments),
        Command::Weaken(arguments) => weaken::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Header(arguments) => header::run(&arguments),
        Command::Install(arguments) => install::run(&arguments),
        Command::Kill(arguments) => kill::run(&arguments),
        Command::Layers(arguments) => layers::run(&arguments),
        Command::Release(arguments) => release::run(&arguments),
        Command::UBoot(arguments) => u_boot::run(&arguments),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(2)
    })
}
