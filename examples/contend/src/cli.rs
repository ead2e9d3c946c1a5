//! The command line.

use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args as ClapArgs, CommandFactory, Parser, Subcommand, ValueEnum};
use shmem_core::region::Place;

/// The highest partition number that can take part.
pub(crate) const PARTIES: u8 = 8;
/// The one that has a ring each way with every other: the host.
pub(crate) const HOST: u8 = 1;

/// Contends for the locks of one region, from several kernels, and counts exactly.
#[derive(Parser)]
#[command(name = "shmem-contend", version, after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// The memory that all parties share
    #[arg(long, value_name = "PLACE")]
    pub(crate) region: Place,

    /// Print one JSON document a line
    #[arg(long, global = true)]
    pub(crate) json: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Args {
    /// This program's own; wrong ones end it.
    pub(crate) fn read() -> Self {
        let args = Self::parse();
        match &args.command {
            Command::Work {
                lock: Lock::Barrier,
                amount,
                ..
            } if amount.time.is_some() => {
                let why = "the phases of a barrier are counted: say --rounds instead of --for";
                Self::command()
                    .error(ErrorKind::ArgumentConflict, why)
                    .exit()
            }
            _ => args,
        }
    }
}

const AFTER_HELP: &str = "\
PLACE is one of
  file:PATH             a file, as in file:/dev/shm/region
  pci:PATH              the memory of a PCI device, as in
                        pci:/sys/bus/pci/devices/0000:00:02.0/resource2, enabled before
  mem:ADDRESS+LENGTH    reserved physical memory, as in mem:0x100000000+2M

One party prepares the region, then each attaches with a number of its own, 1 to 8. One
that ends early, by a signal or with its kernel, stays attached: nobody takes what it
held until somebody says that it is gone (`gone N`), or it attaches again (`--restart`).

Exit status: 0 all was as it should be, 1 failure, 2 wrong usage, 3 the memory is not fit
for the lock, 4 a deadline passed, 5 this party was evicted, 6 the counters are wrong.

Examples:
  shmem-contend --region file:/dev/shm/region prepare
  shmem-contend --region file:/dev/shm/region work mutex --as 1 --meet --for 5s
  shmem-contend --region mem:0x100000000+2M hold semaphore --as 3
  shmem-contend --region file:/dev/shm/region release 3";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Format the memory and create everything in it; nobody may be attached
    Prepare {
        /// Permits of the semaphore
        #[arg(long, value_name = "K", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=8))]
        permits: u8,
        /// Do it although the memory is a region already: what is there is lost
        #[arg(long)]
        again: bool,
    },
    /// Take a lock many times, and count under it
    Work {
        lock: Lock,
        #[command(flatten)]
        amount: Amount,
        /// First try the memory together with another party, which runs `answer`, and
        /// refuse a lock for which it is not fit
        #[arg(long)]
        try_memory: bool,
        #[command(flatten)]
        party: Party,
    },
    /// Take locks, in this order, and hold them until somebody says `release N`
    Hold {
        #[arg(required = true)]
        locks: Vec<Held>,
        #[command(flatten)]
        party: Party,
    },
    /// Send numbered records to another party, one of the two being party 1
    Send {
        #[arg(long, value_name = "N", value_parser = number())]
        to: u8,
        #[arg(long, value_name = "N", default_value_t = 1000)]
        records: u32,
        #[command(flatten)]
        party: Party,
    },
    /// Receive numbered records from another party, and miss none
    Receive {
        #[arg(long, value_name = "N", value_parser = number())]
        from: u8,
        #[arg(long, value_name = "N", default_value_t = 1000)]
        records: u32,
        #[command(flatten)]
        party: Party,
    },
    /// Answer a party that tries the memory (`work --try-memory`)
    Answer {
        /// The party that asks
        #[arg(value_parser = number())]
        partition: u8,
        /// Give up after so long
        #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time)]
        timeout: Duration,
    },
    /// Let the party of this number give back what it holds
    Release {
        #[arg(value_parser = number())]
        partition: u8,
    },
    /// Say that the party of this number is gone for certain: others may take what it held
    Gone {
        #[arg(value_parser = number())]
        partition: u8,
    },
    /// Show the counters, and who is attached
    Show,
}

/// How much is worked.
#[derive(ClapArgs)]
pub(crate) struct Amount {
    /// How many times
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(crate) rounds: u32,
    /// For so long instead: all parties are at work at the same time
    #[arg(long = "for", value_name = "TIME", value_parser = time, conflicts_with = "rounds")]
    pub(crate) time: Option<Duration>,
    /// Begin when all have come: meet the other parties at the barrier first
    #[arg(long)]
    pub(crate) meet: bool,
}

/// How a party attends.
#[derive(ClapArgs)]
pub(crate) struct Party {
    /// The party's number
    #[arg(long = "as", value_name = "N", value_parser = number())]
    pub(crate) partition: u8,
    /// The party of this number that is attached is this one's earlier self, and over:
    /// the machine was booted anew, or the program killed
    #[arg(long)]
    pub(crate) restart: bool,
    /// Give up what takes longer
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time)]
    pub(crate) timeout: Duration,
    /// Look again and again instead of sleeping for up to 1 ms between two looks: more
    /// contention, and a processor for each party
    #[arg(long)]
    pub(crate) spin: bool,
    /// Report a party as silent whose heartbeat stands still for longer
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = time)]
    pub(crate) silent_after: Duration,
    /// Take a party for gone whose heartbeat stands still for longer: one that was only
    /// slow loses what it held [default: never]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) presume_gone_after: Option<Duration>,
    /// How many parties meet at the barrier: those with the numbers from 1 on
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = number())]
    pub(crate) parties: u8,
}

/// What is worked under.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Lock {
    /// Counts under the mutex
    Mutex,
    /// Watches that no more parties are inside than there are permits
    Semaphore,
    /// Counts in one round of four, reads the counters in the others
    Rwlock,
    /// Counts under the mutex that needs no compare-and-swap
    Bakery,
    /// Meets the others, a phase a round
    Barrier,
}

/// What is held.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Held {
    Mutex,
    /// A permit
    Semaphore,
    /// The reader-writer lock, to read
    Read,
    /// The reader-writer lock, to write
    Write,
    Bakery,
}

fn number() -> clap::builder::RangedI64ValueParser<u8> {
    clap::value_parser!(u8).range(1..=i64::from(PARTIES))
}

/// `500ms` or `2s`.
fn time(text: &str) -> Result<Duration, String> {
    let parsed = match text.strip_suffix("ms") {
        Some(digits) => digits.parse().map(Duration::from_millis),
        None => text.trim_end_matches('s').parse().map(Duration::from_secs),
    };
    parsed.map_err(|_| "give a time as 500ms or 2s".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit_or_is_in_seconds() {
        assert_eq!(time("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(time("2s"), time("2"));
        assert!(time("2 m").is_err() && time("").is_err());
    }

    #[test]
    fn the_command_line_is_one_that_clap_accepts() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }
}
