//! A peer for tests by hand: the program `ivshmem-peer`, and commands that a guest's peer shares.

mod party;
mod ping;
mod print;
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

/// Time limit for the messages that a server sends to a new peer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A peer on the host, which lists other peers and tests interrupts and memory
#[derive(Parser, Clone, Debug)]
#[command(name = "ivshmem-peer", version)]
struct Args {
    /// The server's socket
    #[arg(long, value_name = "PATH")]
    socket: PathBuf,

    /// The number of vectors: as many as the server gives
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=2048))]
    vectors: u16,

    #[command(subcommand)]
    verb: Verb,
}

/// A command of a peer.
#[derive(Subcommand, Clone, Debug)]
pub enum Verb {
    /// Report peers that exist, join and leave, and interrupts, until standard input ends or
    /// the server is gone
    Watch,
    /// Interrupt another peer once
    Ring {
        /// Its number
        peer: u16,
        /// The number of its interrupt
        #[arg(default_value_t = 0)]
        vector: u16,
    },
    /// Answer peers that run `ping`, one at a time, until standard input ends or the server is gone
    Answer,
    /// Measure round trips of a record and an interrupt to a peer that runs `answer`. This
    /// formats the memory
    Ping {
        /// Its number
        peer: u16,
        /// The number of round trips
        #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
        count: u32,
    },
}

/// Runs the `ivshmem-peer` program.
pub fn run() -> ExitCode {
    match run_command(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "ivshmem-peer: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run_command(args: &Args) -> Result<()> {
    let client = Client::connect(&args.socket, args.vectors, PATIENCE);
    let client = client.with_context(|| format!("cannot join {}", args.socket.display()))?;
    args.verb.run(client, io::stdin().as_fd())
}

impl Verb {
    /// Runs the command as `party`. Commands that go on until an input ends read `input`.
    ///
    /// # Errors
    ///
    /// The peer to notify does not exist or does not answer, or the server is gone.
    pub fn run(&self, party: impl Party, input: BorrowedFd<'_>) -> Result<()> {
        match *self {
            Self::Watch => watch::run(party, input),
            Self::Ring { peer, vector } => {
                let notified = party.ring(peer, vector);
                ensure!(
                    notified,
                    "peer {peer} with a vector {vector} does not exist"
                );
                Ok(())
            }
            Self::Answer => ping::answer(party, input),
            Self::Ping { peer, count } => ping::ping(&party, peer, count),
        }
    }
}
