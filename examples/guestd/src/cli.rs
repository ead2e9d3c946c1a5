//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use kmon_protocol::Place;

/// KMON's daemon inside an instance: runs a login shell and commands for the
/// monitor and publishes statistics, all through a region of shared memory.
#[derive(Parser, Clone, Debug)]
#[command(version, after_help = AFTER_HELP)]
pub struct Args {
    /// Where the region is that this instance shares with KMON
    #[arg(long, value_name = "PLACE")]
    pub region: Place,

    /// Stay in the foreground instead of becoming a daemon
    #[arg(long)]
    pub foreground: bool,

    /// Shell to run on the console [default: the user's login shell, else /bin/sh]
    #[arg(long, value_name = "PATH")]
    pub shell: Option<PathBuf>,

    /// Seconds between two statistics snapshots, 0.1 to 3600 [default: what KMON says]
    #[arg(long, value_name = "SECONDS", value_parser = period)]
    pub period: Option<Duration>,

    /// Write the daemon's process number to this file, and remove it at the end
    #[arg(long, value_name = "FILE", value_parser = absolute)]
    pub pid_file: Option<PathBuf>,

    /// Append messages to this file [default: standard error; as a daemon, nowhere]
    #[arg(long, value_name = "FILE", value_parser = absolute)]
    pub log: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
PLACE is one of
  fd:N                     a descriptor that the parent left open
  shm:/NAME                POSIX shared memory
  file:PATH                a file, mapped shared
  mem:BASE+LENGTH          physical memory through /dev/mem, as in mem:0x100000000+16M
  pci:PATH                 a PCI BAR, as in pci:/sys/bus/pci/devices/0000:00:04.0/resource2

A guestd that is started again takes the place of one that died, at once; while one
lives, another is refused after 4 s.

Exit status: 0 ended by KMON or a signal (as a daemon: it is attached), 1 failure, 2 wrong usage.";

/// A path that still holds when the daemon has changed its directory.
fn absolute(text: &str) -> Result<PathBuf, String> {
    std::path::absolute(text).map_err(|error| error.to_string())
}

fn period(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=3600.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("give a number of seconds from 0.1 to 3600".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_is_a_number_of_seconds_within_bounds() {
        assert_eq!(period("0.5"), Ok(Duration::from_millis(500)));
        for wrong in ["", "0", "-1", "nan", "inf", "3601", "3 s"] {
            assert!(period(wrong).is_err(), "{wrong}");
        }
    }
}
