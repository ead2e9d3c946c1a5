//! The program `ivshmem-peer`: a peer on the host, to look and to try with.

mod ping;
mod watch;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};

use crate::client::Client;

/// How long a server may take to say all that a new peer is told.
const PATIENCE: Duration = Duration::from_secs(10);

/// A peer on the host, to look who is there and to try interrupts and memory with.
#[derive(Parser, Clone, Debug)]
#[command(name = "ivshmem-peer", version)]
struct Args {
    /// The server's socket
    #[arg(long, value_name = "PATH")]
    socket: PathBuf,

    /// How many vectors to have: as many as the server gives
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=2048))]
    vectors: u16,

    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Clone, Debug)]
enum Verb {
    /// Say who is there, who comes and goes, and who rings, until standard input ends or
    /// the server is gone
    Watch,
    /// Ring another peer once
    Ring {
        /// Its number
        peer: u16,
        /// Which of its interrupts
        #[arg(default_value_t = 0)]
        vector: u16,
    },
    /// Answer those who `ping`, one at a time, until standard input ends or the server is gone
    Answer,
    /// Measure round trips of a record and an interrupt to a peer that runs `answer`;
    /// formats the memory
    Ping {
        /// Its number
        peer: u16,
        /// How many
        #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
        count: u32,
    },
}

/// Runs the `ivshmem-peer` program.
pub fn run() -> ExitCode {
    match act(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "ivshmem-peer: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn act(args: &Args) -> Result<()> {
    let client = Client::connect(&args.socket, args.vectors, PATIENCE);
    let client = client.with_context(|| format!("cannot join {}", args.socket.display()))?;
    match args.verb {
        Verb::Watch => watch::run(client, args.vectors),
        Verb::Ring { peer, vector } => {
            let rung = client.ring(peer, vector);
            ensure!(rung, "peer {peer} with a vector {vector} is not there");
            Ok(())
        }
        Verb::Answer => ping::answer(client),
        Verb::Ping { peer, count } => ping::ping(&client, peer, count),
    }
}

/// One line to standard output, at once: somebody may wait for it.
fn say(line: impl std::fmt::Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}
