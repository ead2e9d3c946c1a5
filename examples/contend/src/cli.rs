//! The command line.

use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args as ClapArgs, CommandFactory, Parser, Subcommand, ValueEnum};
use shmem_core::region::MemorySource;

/// The highest partition number that can take part.
pub(crate) const PARTIES: u8 = 8;
/// The party that has a ring in each direction with every other: the host.
pub(crate) const HOST: u8 = 1;

/// Takes the locks of one region, as the same program does in other kernels, and counts lost
/// updates
#[derive(Parser)]
#[command(name = "shmem-contend", version, after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// The memory that all parties share
    #[arg(long, value_name = "PLACE")]
    pub(crate) region: MemorySource,

    /// Print events as JSON, one document a line
    #[arg(long, global = true)]
    pub(crate) json: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Args {
    /// Reads this program's arguments; wrong ones end the program.
    pub(crate) fn read() -> Self {
        let args = Self::parse();
        match &args.command {
            Command::Work {
                lock: Lock::Barrier,
                amount,
                ..
            } if amount.time.is_some() => {
                let why = "the phases of a barrier are counted: give --rounds instead of --for";
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

One party prepares the region, then each attaches with a number of its own, 1 to 8. A party
that ends early, by a signal or with its kernel, stays attached. No other party takes what it
held until the operator declares it gone (`gone N`), or until it attaches again (`--restart`).

Exit status: 0 success, 1 failure, 2 wrong usage, 3 the memory is not suitable for the lock,
4 a deadline passed, 5 this party was evicted, 6 the counters are wrong.

Examples:
  shmem-contend --region file:/dev/shm/region prepare
  shmem-contend --region file:/dev/shm/region work mutex --as 1 --start-together --for 5s
  shmem-contend --region mem:0x100000000+2M hold semaphore --as 3
  shmem-contend --region file:/dev/shm/region release 3";

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Format the memory and create all segments; no party may be attached
    Prepare {
        /// Permits of the semaphore
        #[arg(long, value_name = "K", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=8))]
        permits: u8,
        /// Format the memory even if it is already a region, whose content is lost
        #[arg(long)]
        again: bool,
    },
    /// Acquire a lock many times, and count while holding it
    Work {
        lock: Lock,
        #[command(flatten)]
        amount: Amount,
        /// First test the memory with another party, which runs `answer`, and refuse a lock
        /// for which the memory is not suitable
        #[arg(long)]
        try_memory: bool,
        #[command(flatten)]
        party: Party,
    },
    /// Acquire locks, in this order, and hold them until the command `release N`
    Hold {
        #[arg(required = true)]
        locks: Vec<Held>,
        #[command(flatten)]
        party: Party,
    },
    /// Send numbered records to another party; one of the two must be party 1
    Send {
        #[arg(long, value_name = "N", value_parser = number())]
        to: u8,
        #[arg(long, value_name = "N", default_value_t = 1000)]
        records: u32,
        #[command(flatten)]
        party: Party,
    },
    /// Receive numbered records from another party, and check that none is missing
    Receive {
        #[arg(long, value_name = "N", value_parser = number())]
        from: u8,
        #[arg(long, value_name = "N", default_value_t = 1000)]
        records: u32,
        #[command(flatten)]
        party: Party,
    },
    /// Answer a party that tests the memory (`work --try-memory`)
    Answer {
        /// The party that asks
        #[arg(value_parser = number())]
        partition: u8,
        /// Stop after this time
        #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time)]
        timeout: Duration,
    },
    /// Let the party with this number release what it holds
    Release {
        #[arg(value_parser = number())]
        partition: u8,
    },
    /// Declare the party with this number gone: others may take over what it held
    Gone {
        #[arg(value_parser = number())]
        partition: u8,
    },
    /// Show the counters and the attached parties
    Show,
}

/// The amount of work.
#[derive(ClapArgs)]
pub(crate) struct Amount {
    /// Number of rounds
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(crate) rounds: u32,
    /// Work for this time instead: all parties work at the same time
    #[arg(long = "for", value_name = "TIME", value_parser = time, conflicts_with = "rounds")]
    pub(crate) time: Option<Duration>,
    /// First wait at the barrier until all parties have arrived
    #[arg(long)]
    pub(crate) start_together: bool,
}

/// The options of a party.
#[derive(ClapArgs)]
pub(crate) struct Party {
    /// The party's number
    #[arg(long = "as", value_name = "N", value_parser = number())]
    pub(crate) partition: u8,
    /// Take over from the attached incarnation of this party, which is gone: its machine was
    /// booted again, or its program killed
    #[arg(long)]
    pub(crate) restart: bool,
    /// Time limit of each wait
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time)]
    pub(crate) timeout: Duration,
    /// Check continuously instead of sleeping for up to 1 ms between two checks: this
    /// increases contention, and uses one processor for each party
    #[arg(long)]
    pub(crate) spin: bool,
    /// Report a party as silent whose heartbeat stands still for longer
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = time)]
    pub(crate) silent_after: Duration,
    /// Presume a party gone whose heartbeat stands still for longer: a party that was only
    /// slow loses what it held [default: never]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) presume_gone_after: Option<Duration>,
    /// How many parties use the barrier: those with the numbers from 1 on
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = number())]
    pub(crate) parties: u8,
}

/// The lock to work with.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Lock {
    /// Counts under the mutex
    Mutex,
    /// Checks that no more parties are inside than there are permits
    Semaphore,
    /// Writes in one round of four, reads the counters in the others
    Rwlock,
    /// Counts under the mutex that needs no compare-and-swap
    Bakery,
    /// Waits for the others, one phase a round
    Barrier,
}

/// A lock to hold.
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

/// Parses `500ms` or `2s`.
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
    fn the_command_line_passes_claps_checks() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }
}
