//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use kmon_protocol::link::Waiting;
use shmem_core::region::Place;
use shmem_core::region::place::PlaceError;

/// KMON's daemon inside an instance: runs a login shell and commands for the
/// monitor and publishes statistics, all through a region of shared memory.
#[derive(Parser, Clone, Debug)]
#[command(version, after_help = AFTER_HELP)]
pub struct Args {
    /// Where the region is that this instance shares with KMON
    #[arg(long, value_name = "PLACE", default_value = "auto")]
    pub region: Region,

    /// How long to wait for a KMON that has not formatted the region yet: a number, or
    /// `forever` [default: as a daemon for ever, in the foreground not at all]
    #[arg(long, value_name = "SECONDS", value_parser = wait)]
    pub wait: Option<Wait>,

    /// Look for news instead of sleeping until the kernel wakes us: for a KMON in a
    /// virtual machine whose memory is a file here; take no device's interrupts
    #[arg(long)]
    pub poll: bool,

    /// Stay in the foreground instead of becoming a daemon
    #[arg(long)]
    pub foreground: bool,

    /// Shell to run on the console [default: the user's login shell, else /bin/sh]
    #[arg(long, value_name = "PATH")]
    pub shell: Option<PathBuf>,

    /// Whether the log of this kernel is KMON's to see
    #[arg(long, value_name = "WHEN", value_enum, default_value_t)]
    pub kernel_log: KernelLog,

    /// What a shell runs when KMON has halted the instance, behind the goodbye:
    /// on a machine of its own, `poweroff -f`
    #[arg(long, value_name = "COMMAND")]
    pub on_halt: Option<OsString>,

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
  auto                     the place that the kernel's command line gives as shmr.region=PLACE;
                           else memory that the device tree reserves as compatible with
                           \"shmr,region\"; else the memory of the ivshmem device, PCI 1af4:1110
  fd:N                     a descriptor that the parent left open
  shm:/NAME                POSIX shared memory
  file:PATH                a file, mapped shared
  file:PATH@OFFSET+LENGTH  a part of one, as in file:/dev/shm/memory@64M+2M
  mem:BASE+LENGTH          physical memory through /dev/mem, as in mem:0x100000000+16M
  pci:PATH                 a PCI BAR, as in pci:/sys/bus/pci/devices/0000:00:04.0/resource2

News of shm:, file: and fd: come through futexes, those of a pci: device with interrupts
(QEMU's ivshmem-doorbell) through vfio-pci if the machine has it and an IOMMU, unless --poll
is given; mem: and every other pci: are always polled.

A daemon that waits has started, also one that has still to find its region: the process
that called it ends with 0. When KMON formats the region anew while guestd lives, guestd
attaches to it anew, with the same patience; the shell goes on, and commands that run apart
from it are killed.

A guestd that is started again takes the place of one that died, at once; while one
incarnations, another is refused after 4 s.

Exit status: 0 ended by KMON or a signal (as a daemon: it is attached or waits),
1 failure, 2 wrong usage.";

/// Where the region is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Region {
    /// Wherever the machine has it.
    Auto,
    /// There.
    At(Place),
}

impl Region {
    /// The place, if it was said.
    pub fn place(&self) -> Option<&Place> {
        match self {
            Self::Auto => None,
            Self::At(place) => Some(place),
        }
    }
}

impl FromStr for Region {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        match text {
            "auto" => Ok(Self::Auto),
            place => place.parse().map(Self::At),
        }
    }
}

/// Whether KMON is told the kernel's log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum KernelLog {
    /// If the region is a device's or reserved physical memory: then the kernel is the
    /// instance's own, and its log says nothing of others
    #[default]
    Auto,
    /// Yes
    Always,
    /// No
    Never,
}

/// How long to wait for KMON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// For so long.
    For(Duration),
    /// Until a signal.
    Forever,
}

impl Args {
    /// How long to wait for KMON's region, whether it was said or not.
    pub fn wait(&self) -> Wait {
        let unsaid = if self.foreground {
            Wait::For(Duration::ZERO)
        } else {
            Wait::Forever
        };
        self.wait.unwrap_or(unsaid)
    }

    /// How the two ends wait for each other over the memory at `place`.
    pub fn waiting(&self, place: &Place) -> Waiting {
        match self.poll {
            true => Waiting::Poll,
            false => place.into(),
        }
    }

    /// Whether KMON, whose region is at `place`, is told the kernel's log.
    pub fn tells_kernel_log(&self, place: &Place) -> bool {
        match self.kernel_log {
            KernelLog::Auto => matches!(place, Place::Physical { .. } | Place::Pci(_)),
            KernelLog::Always => true,
            KernelLog::Never => false,
        }
    }
}

/// A path that still holds when the daemon has changed its directory.
fn absolute(text: &str) -> Result<PathBuf, String> {
    std::path::absolute(text).map_err(|error| error.to_string())
}

fn wait(text: &str) -> Result<Wait, String> {
    if text == "forever" {
        return Ok(Wait::Forever);
    }
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=1e9).contains(&seconds) => {
            Ok(Wait::For(Duration::from_secs_f64(seconds)))
        }
        _ => Err("give a number of seconds, or forever".to_owned()),
    }
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
    fn a_daemon_waits_for_ever_and_in_the_foreground_nothing_waits_unless_told() {
        let wait = |line: &str| {
            let words = line.split(' ').chain(["--region=fd:9"]);
            Args::try_parse_from(words).map(|args| args.wait()).ok()
        };
        let seconds = |seconds| Some(Wait::For(Duration::from_secs(seconds)));
        assert_eq!(wait("guestd"), Some(Wait::Forever));
        assert_eq!(wait("guestd --foreground"), seconds(0));
        let forever = "guestd --foreground --wait forever";
        assert_eq!(wait(forever), Some(Wait::Forever));
        assert_eq!(wait("guestd --wait 20 --foreground"), seconds(20));
        assert_eq!(wait("guestd --wait 0"), seconds(0));
        for wrong in ["--wait=", "--wait=-1", "--wait=nan", "--wait=1e99"] {
            assert_eq!(wait(&format!("guestd {wrong}")), None, "{wrong}");
        }
    }

    #[test]
    fn the_kernels_log_is_told_where_the_kernel_is_the_instances_own() {
        let tells = |line: &str, place: &str| {
            let args = Args::try_parse_from(line.split(' ')).unwrap();
            assert_eq!(args.region, Region::Auto);
            args.tells_kernel_log(&place.parse().unwrap())
        };
        let device = "pci:/sys/bus/pci/devices/0000:00:04.0/resource2";
        let places = [device, "mem:0x100000000+2M", "fd:3", "shm:/a", "file:/a"];
        let told = |line| places.map(|place| tells(line, place));
        assert_eq!(told("guestd"), [true, true, false, false, false]);
        assert_eq!(told("guestd --kernel-log always"), [true; 5]);
        assert_eq!(told("guestd --kernel-log never"), [false; 5]);
    }

    #[test]
    fn a_period_is_a_number_of_seconds_within_bounds() {
        assert_eq!(period("0.5"), Ok(Duration::from_millis(500)));
        for wrong in ["", "0", "-1", "nan", "inf", "3601", "3 s"] {
            assert!(period(wrong).is_err(), "{wrong}");
        }
    }
}
