//! A process, possibly the child of another process, identified by a descriptor (M4).

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, ExitStatus};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// Two readings of the same start time may differ by this many ticks: in another time namespace
/// the kernel rounds another number.
const ROUNDING: u64 = 1;

/// A process that runs or has ended.
#[derive(Debug)]
pub struct Process {
    pid: Pid,
    start: u64,
    descriptor: OwnedFd,
    /// The child to reap, if it is ours.
    child: Option<Mutex<Child>>,
}

impl Process {
    /// Takes a child of this process that was just started.
    ///
    /// # Errors
    ///
    /// The kernel returns no descriptor. The child is then killed.
    pub fn from_child(mut child: Child) -> io::Result<Self> {
        let pid = Pid::from_child(&child);
        let found = pidfd_open(pid, PidfdFlags::empty())
            .map_err(io::Error::from)
            .and_then(|descriptor| Ok((descriptor, start_time(pid)?)));
        match found {
            Ok((descriptor, start)) => Ok(Self {
                pid,
                start,
                descriptor,
                child: Some(Mutex::new(child)),
            }),
            Err(error) => {
                // The child is not reaped yet, so the number is still its own.
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    /// Finds the process with this number, if it started at `start`; any process if that is `None`.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`] if it has ended, or another process has the number now.
    pub fn find(number: i32, start: Option<u64>) -> io::Result<Self> {
        let gone = || {
            let why = format!("process {number} is gone");
            io::Error::new(io::ErrorKind::NotFound, why)
        };
        let pid = Pid::from_raw(number).ok_or_else(gone)?;
        let descriptor = pidfd_open(pid, PidfdFlags::empty()).map_err(|_| gone())?;
        let process = Self {
            pid,
            start: start_time(pid).map_err(|_| gone())?,
            descriptor,
            child: None,
        };
        // If it has not ended yet, `/proc` described this process.
        let is_another = start.is_some_and(|start| start.abs_diff(process.start) > ROUNDING);
        match is_another || process.has_ended() {
            true => Err(gone()),
            false => Ok(process),
        }
    }

    /// Returns its number on this machine.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Returns its start time in the kernel's ticks since the machine's start: the same number in
    /// every time namespace.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Returns the time since its start.
    pub fn age(&self) -> Duration {
        let uptime = procfs::Current::current().map(|up: procfs::Uptime| up.uptime_duration());
        let uptime = uptime.unwrap_or_default().as_millis();
        let ticks_per_second = u128::from(procfs::ticks_per_second().max(1));
        let now = without_offset(uptime, 1000);
        let age = now.saturating_sub(u128::from(self.start) * 1000 / ticks_per_second);
        Duration::from_millis(u64::try_from(age).unwrap_or(u64::MAX))
    }

    /// Opens the file again that it has open as descriptor `number`.
    ///
    /// # Errors
    ///
    /// It has ended, has no such descriptor, or this user has no permission.
    pub fn open(&self, number: i32, options: &OpenOptions) -> io::Result<File> {
        let file = options.open(format!("/proc/{}/fd/{number}", self.pid()))?;
        if self.has_ended() {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(file)
    }

    /// Returns true if it has ended, whether reaped or not.
    pub fn has_ended(&self) -> bool {
        self.ends_within(Duration::ZERO)
    }

    /// Waits up to `timeout` for its end. Returns true if it has ended.
    pub fn ends_within(&self, timeout: Duration) -> bool {
        let mut ready = [PollFd::new(self.descriptor.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        poll(&mut ready, timeout).is_ok_and(|count| count > 0)
    }

    /// Waits for its end and reaps it. Returns its status if it was our child.
    pub fn reap(&self) -> Option<ExitStatus> {
        let child = self.child.as_ref()?.lock();
        child.unwrap_or_else(PoisonError::into_inner).wait().ok()
    }

    /// Kills it, unless it has ended.
    pub fn kill(&self) {
        let _ = pidfd_send_signal(&self.descriptor, Signal::KILL);
    }
}

/// Returns the start time of a process in the kernel's ticks since the machine's start.
fn start_time(pid: Pid) -> io::Result<u64> {
    let process = procfs::process::Process::new(pid.as_raw_nonzero().get());
    let stat = process.and_then(|process| process.stat());
    let start = stat.map_err(io::Error::other)?.starttime;
    let start = without_offset(start.into(), procfs::ticks_per_second().into());
    Ok(u64::try_from(start).unwrap_or(u64::MAX))
}

/// Converts `time`, in `units_per_second`, to the first time namespace: `/proc` adds the offset
/// of the reader's namespace.
fn without_offset(time: u128, units_per_second: u128) -> u128 {
    // Kernels before 5.6 have no time namespaces.
    let offsets = fs::read_to_string("/proc/self/timens_offsets").unwrap_or_default();
    let nanos = boot_offset(&offsets).unwrap_or(0);
    let units = nanos.unsigned_abs() * units_per_second / 1_000_000_000;
    match nanos {
        0.. => time.saturating_sub(units),
        _ => time + units,
    }
}

/// Parses the offset that a time namespace adds to the time since boot, in nanoseconds.
fn boot_offset(offsets: &str) -> Option<i128> {
    let boot = offsets
        .lines()
        .find_map(|line| line.strip_prefix("boottime"))?;
    let mut numbers = boot.split_whitespace().map(str::parse::<i128>);
    let (seconds, nanos) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    Some(seconds * 1_000_000_000 + nanos)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileTypeExt;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};

    /// Longer than any test takes on a busy machine.
    const PATIENCE: Duration = Duration::from_secs(30);

    fn sleeper() -> Process {
        let mut command = Command::new("sleep");
        let child = command.arg("100").stdout(Stdio::null()).spawn().unwrap();
        Process::from_child(child).unwrap()
    }

    #[test]
    fn a_process_is_found_again_unless_another_has_its_number() {
        let child = sleeper();
        assert!(!child.has_ended() && child.age() < PATIENCE);
        let found = Process::find(child.pid(), Some(child.start())).unwrap();
        assert!(Process::find(child.pid(), Some(child.start() + 2)).is_err());
        let output = found.open(1, OpenOptions::new().write(true)).unwrap();
        assert!(output.metadata().unwrap().file_type().is_char_device());
        found.kill();
        assert!(found.ends_within(PATIENCE));
        assert!(found.open(1, OpenOptions::new().write(true)).is_err());
        assert_eq!(found.reap(), None, "only the parent gets a status");
        assert!(Process::find(child.pid(), None).is_err());
        let status = child.reap().and_then(|status| status.signal());
        assert_eq!(status, Some(9));
        assert_eq!(child.reap().and_then(|status| status.signal()), Some(9));
    }

    #[test]
    fn the_offset_of_a_time_namespace_is_parsed() {
        let offsets = "monotonic           7         0\nboottime         1000 500000000\n";
        assert_eq!(boot_offset(offsets), Some(1_000_500_000_000));
        let back = "boottime        -2 500000000\n";
        assert_eq!(boot_offset(back), Some(-1_500_000_000));
        assert_eq!(boot_offset(""), None);
    }
}
