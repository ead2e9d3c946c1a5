//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use kmon_protocol::link::Waiting;
use shmem_core::region::MemorySource;
use shmem_core::region::source::MemorySourceError;

/// KMON's daemon inside an instance: runs a login shell and commands for the monitor, and publishes
/// statistics, through a region of shared memory.
#[derive(Parser, Clone, Debug)]
#[command(version, after_help = AFTER_HELP)]
pub struct Args {
    /// The place of the region that this instance shares with KMON
    #[arg(long, value_name = "PLACE", default_value = "auto")]
    pub region: Region,

    /// How long to wait until KMON has formatted the region: a number, or `forever` [default:
    /// forever; with --foreground 0]
    #[arg(long, value_name = "SECONDS", value_parser = wait)]
    pub wait: Option<Wait>,

    /// Poll the region instead of sleeping until KMON wakes this process, and do not use a device's
    /// interrupts: needed if KMON runs in a virtual machine whose memory is a file on this system
    #[arg(long)]
    pub poll: bool,

    /// Stay in the foreground instead of becoming a daemon
    #[arg(long)]
    pub foreground: bool,

    /// Shell to run on the console [default: the user's login shell, else /bin/sh]
    #[arg(long, value_name = "PATH")]
    pub shell: Option<PathBuf>,

    /// Whether to send the log of this kernel to KMON
    #[arg(long, value_name = "WHEN", value_enum, default_value_t)]
    pub kernel_log: KernelLog,

    /// Command that a shell runs after KMON has halted the instance; on a dedicated machine,
    /// `poweroff -f`
    #[arg(long, value_name = "COMMAND")]
    pub on_halt: Option<OsString>,

    /// Seconds between two statistics snapshots, 0.1 to 3600 [default: KMON's setting]
    #[arg(long, value_name = "SECONDS", value_parser = period)]
    pub period: Option<Duration>,

    /// Write the daemon's process number to this file, and remove it at the end
    #[arg(long, value_name = "FILE", value_parser = absolute)]
    pub pid_file: Option<PathBuf>,

    /// Append messages to this file [default: standard error; as a daemon, none]
    #[arg(long, value_name = "FILE", value_parser = absolute)]
    pub log: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
PLACE is one of
  auto                     the place that shmr.region=PLACE on the kernel's command line names;
                           else memory that the device tree reserves as compatible with
                           \"shmr,region\"; else the memory of the ivshmem device, PCI 1af4:1110
  fd:N                     a descriptor that the parent process left open
  shm:/NAME                POSIX shared memory
  file:PATH                a file, mapped shared
  file:PATH@OFFSET+LENGTH  a part of a file, as in file:/dev/shm/memory@64M+2M
  mem:BASE+LENGTH          physical memory through /dev/mem, as in mem:0x100000000+16M
  pci:PATH                 a PCI BAR, as in pci:/sys/bus/pci/devices/0000:00:04.0/resource2

KMON wakes guestd through futexes if PLACE is shm:, file: or fd:, and through interrupts if it
is a pci: device that has them (QEMU's ivshmem-doorbell) and the machine has vfio-pci and an
IOMMU. With --poll, and for mem: and every other pci:, guestd polls.

Without --foreground, the process that was called ends with status 0 as soon as the daemon
is attached or waits for its region. When KMON formats the region again while guestd runs,
guestd attaches again, and waits for that as long as for the first time. The shell continues;
commands of kmexec are killed.

A new guestd replaces one that died at once. While another guestd runs with the same region, the
new one waits 4 s and fails.

Exit status: 0 ended by KMON or a signal (as a daemon: attached or waiting), 1 failure,
2 wrong usage.";

/// The place of the region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Region {
    /// Search this machine for it.
    Auto,
    /// This place.
    At(MemorySource),
}

impl Region {
    /// Returns the place, if it was named.
    pub fn place(&self) -> Option<&MemorySource> {
        match self {
            Self::Auto => None,
            Self::At(place) => Some(place),
        }
    }
}

impl FromStr for Region {
    type Err = MemorySourceError;

    fn from_str(text: &str) -> Result<Self, MemorySourceError> {
        match text {
            "auto" => Ok(Self::Auto),
            place => place.parse().map(Self::At),
        }
    }
}

/// Whether KMON gets the kernel's log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum KernelLog {
    /// If the region is a device's or reserved physical memory: then the instance has its own
    /// kernel, whose log is only about the instance
    #[default]
    Auto,
    /// Send it
    Always,
    /// Do not send it
    Never,
}

/// How long to wait for KMON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// For this time.
    For(Duration),
    /// Until a signal.
    Forever,
}

impl Args {
    /// Returns how long to wait for KMON's region: the option or its default.
    pub fn wait(&self) -> Wait {
        let default = if self.foreground {
            Wait::For(Duration::ZERO)
        } else {
            Wait::Forever
        };
        self.wait.unwrap_or(default)
    }

    /// Returns how the two ends wait for each other over the memory at `place`.
    pub fn waiting(&self, place: &MemorySource) -> Waiting {
        match self.poll {
            true => Waiting::Poll,
            false => place.into(),
        }
    }

    /// Returns true if KMON gets the kernel's log when its region is at `place`.
    pub fn sends_kernel_log(&self, place: &MemorySource) -> bool {
        match self.kernel_log {
            KernelLog::Auto => {
                matches!(place, MemorySource::Physical { .. } | MemorySource::Pci(_))
            }
            KernelLog::Always => true,
            KernelLog::Never => false,
        }
    }
}

/// Makes the path absolute, because the daemon changes its directory.
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
        _ => Err("expected a number of seconds, or forever".to_owned()),
    }
}

fn period(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=3600.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("expected a number of seconds from 0.1 to 3600".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_waits_forever_by_default_and_the_foreground_does_not() {
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
    fn the_kernels_log_is_sent_by_default_if_the_instance_has_its_own_kernel() {
        let sends = |line: &str, place: &str| {
            let args = Args::try_parse_from(line.split(' ')).unwrap();
            assert_eq!(args.region, Region::Auto);
            args.sends_kernel_log(&place.parse().unwrap())
        };
        let device = "pci:/sys/bus/pci/devices/0000:00:04.0/resource2";
        let places = [device, "mem:0x100000000+2M", "fd:3", "shm:/a", "file:/a"];
        let sent = |line| places.map(|place| sends(line, place));
        assert_eq!(sent("guestd"), [true, true, false, false, false]);
        assert_eq!(sent("guestd --kernel-log always"), [true; 5]);
        assert_eq!(sent("guestd --kernel-log never"), [false; 5]);
    }

    #[test]
    fn a_period_is_a_number_of_seconds_within_bounds() {
        assert_eq!(period("0.5"), Ok(Duration::from_millis(500)));
        for wrong in ["", "0", "-1", "nan", "inf", "3601", "3 s"] {
            assert!(period(wrong).is_err(), "{wrong}");
        }
    }
}
