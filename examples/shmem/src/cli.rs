//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use shmem_core::region::source::parse_bytes;

use crate::place::Place;

const PLACES: &str = "\
Places:
  PATH              a dump: a file that no partition uses as memory
  shm:/NAME         POSIX shared memory
  file:PATH         a file that partitions use as memory; a part of it is
                    file:PATH@OFFSET+LENGTH
  pid:PID/FD        a descriptor of a process, such as a memfd; pid:PID finds it
  mem:ADDR+LENGTH   physical memory, through /dev/mem
  pci:PATH          a PCI device's resource file in sysfs";

const INSPECT: &str = "\
Notation:
  2.5        incarnation 5 of partition 2; 2.5! is gone
  2.5 #3     an end of a ring, claimed in epoch 3; (2.5) #3 is released
  9+         9 records were counted, then damage
  9~         9 records when last read; the ring was changing

Exit status:
  0  sound
  1  findings: damage, or what a dead partition left
  2  the place cannot be read, or the command line is wrong

Examples:
  shmem inspect shm:/kmon2
  shmem inspect pid:$(pidof guestd) --watch 1
  shmem inspect --json region.dump | jq '.findings[].what'
  shmem inspect --offset 0x10000000 vm-memory.dump";

const DUMP: &str = "\
A region in use changes while it is copied, so its dump can look damaged. Zero pages
take no space in FILE.

Example:
  shmem dump pid:4711/3 region.dump && shmem inspect region.dump";

/// Inspects a region of shared memory, live or dumped, and never writes to it
#[derive(Debug, Parser)]
#[command(name = "shmem", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Shows the content of a region, and what is wrong with it
    #[command(after_help = format!("{PLACES}\n\n{INSPECT}"))]
    Inspect(Inspect),
    /// Copies a region into a file, for inspection later or elsewhere
    #[command(after_help = format!("{PLACES}\n\n{DUMP}"))]
    Dump(Dump),
}

/// Shows the content of a region, and what is wrong with it
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// The place of the region
    pub(crate) place: Place,
    /// Where the region starts in PLACE, in bytes, for example 4096, 0x1000 or 64M
    #[arg(long, value_name = "BYTES", default_value = "0", value_parser = bytes)]
    pub(crate) offset: u64,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    /// Show the first N unread records of each ring
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) records: usize,
    /// Inspect again after this time, until ^C
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) watch: Option<Duration>,
    /// Stop after N inspections
    #[arg(short = 'n', long, value_name = "N", requires = "watch")]
    pub(crate) count: Option<u64>,
}

/// Copies a region into a file
#[derive(Debug, Args)]
pub(crate) struct Dump {
    /// The place of the region
    pub(crate) place: Place,
    /// A new file for the copy
    pub(crate) file: PathBuf,
    /// Where the region starts in PLACE, in bytes, for example 4096, 0x1000 or 64M
    #[arg(long, value_name = "BYTES", default_value = "0", value_parser = bytes)]
    pub(crate) offset: u64,
}

fn bytes(text: &str) -> Result<u64, String> {
    parse_bytes(text)
        .ok_or_else(|| "give a number of bytes, for example 4096, 0x1000 or 64M".to_owned())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = || "give seconds, 0.05 to 86400".to_owned();
    let seconds: f64 = text.parse().map_err(|_| wrong())?;
    if !(0.05..=86_400.0).contains(&seconds) {
        return Err(wrong());
    }
    Ok(Duration::from_secs_f64(seconds))
}
