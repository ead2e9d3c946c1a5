//! A peer to look and to try with: the program `ivshmem-peer`, and what a guest's does too.

mod party;
mod ping;
mod say;
mod watch;

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};

use crate::client::Client;
pub use party::Party;

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

/// What a peer does.
#[derive(Subcommand, Clone, Debug)]
pub enum Verb {
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
    args.verb.run(client, io::stdin().as_fd())
}

impl Verb {
    /// Does it as `party`; what goes on until an input ends has `input` for it.
    ///
    /// # Errors
    ///
    /// What `party` was to ring is not there, or does not answer; the server is gone.
    pub fn run(&self, party: impl Party, input: BorrowedFd<'_>) -> Result<()> {
        match *self {
            Self::Watch => watch::run(party, input),
            Self::Ring { peer, vector } => {
                let rung = party.ring(peer, vector);
                ensure!(rung, "peer {peer} with a vector {vector} is not there");
                Ok(())
            }
            Self::Answer => ping::answer(party, input),
            Self::Ping { peer, count } => ping::ping(&party, peer, count),
        }
    }
}
