//! A process that may be another KMON's child: known by its descriptor, which
//! never means another one.

use std::fs::{self, File, OpenOptions};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, ExitStatus};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// A process, until its end and behind it.
#[derive(Debug)]
pub(crate) struct Process {
    pid: Pid,
    start: u64,
    descriptor: OwnedFd,
    /// Ours to bury, if it is.
    child: Option<Mutex<Child>>,
}

impl Process {
    /// A process that was just started from here.
    pub(crate) fn of_child(mut child: Child) -> anyhow::Result<Self> {
        let pid = Pid::from_child(&child);
        let found = pidfd_open(pid, PidfdFlags::empty())
            .context("no descriptor of the instance's process")
            .and_then(|descriptor| Ok((descriptor, start_of(pid)?)));
        match found {
            Ok((descriptor, start)) => Ok(Self {
                pid,
                start,
                descriptor,
                child: Some(Mutex::new(child)),
            }),
            Err(error) => {
                // Not buried yet, so it is still that one.
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    /// The process with this number, if it is the one that started at `start`
    /// (any, without one) and has not ended.
    pub(crate) fn find(number: i32, start: Option<u64>) -> anyhow::Result<Self> {
        let pid = Pid::from_raw(number).context("no process number")?;
        let gone = || format!("process {number} is gone");
        let descriptor = pidfd_open(pid, PidfdFlags::empty()).with_context(gone)?;
        let found = start_of(pid).with_context(gone)?;
        let process = Self {
            pid,
            start: found,
            descriptor,
            child: None,
        };
        // As long as it has not ended, what `/proc` said was said of it.
        if start.is_some_and(|start| start != found) || process.has_ended() {
            bail!(gone());
        }
        Ok(process)
    }

    /// Its number, as this machine numbers it.
    pub(crate) fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// When it started, in the kernel's ticks.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    /// How long ago that was.
    pub(crate) fn age(&self) -> Duration {
        let seconds = self.start / procfs::ticks_per_second().max(1);
        let uptime = procfs::Current::current().map(|up: procfs::Uptime| up.uptime_duration());
        uptime
            .unwrap_or_default()
            .saturating_sub(Duration::from_secs(seconds))
    }

    /// Opens what it has open as descriptor `number` once more.
    pub(crate) fn open(&self, number: i32, options: &OpenOptions) -> anyhow::Result<File> {
        let pid = self.pid();
        let file = options.open(format!("/proc/{pid}/fd/{number}"));
        let file = file.with_context(|| format!("descriptor {number} of process {pid}"))?;
        if self.has_ended() {
            bail!("process {pid} is gone");
        }
        Ok(file)
    }

    /// Whether it has ended, buried or not.
    pub(crate) fn has_ended(&self) -> bool {
        self.ends_within(Duration::ZERO)
    }

    /// Waits up to `timeout` for its end.
    pub(crate) fn ends_within(&self, timeout: Duration) -> bool {
        let mut ready = [PollFd::new(self.descriptor.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        poll(&mut ready, timeout).is_ok_and(|count| count > 0)
    }

    /// Buries it, once it has ended. Its status, if it was our child.
    pub(crate) fn bury(&self) -> Option<ExitStatus> {
        let child = self.child.as_ref()?.lock();
        child.unwrap_or_else(PoisonError::into_inner).wait().ok()
    }

    /// Kills it; one that has ended is killed already.
    pub(crate) fn kill(&self) {
        let _ = pidfd_send_signal(&self.descriptor, Signal::KILL);
    }
}

/// When a process started, in the kernel's ticks since the machine's start.
fn start_of(pid: Pid) -> anyhow::Result<u64> {
    let process = procfs::process::Process::new(pid.as_raw_nonzero().get())?;
    Ok(process.stat()?.starttime)
}

/// A name for the time since the machine's start.
pub(crate) fn boot() -> String {
    // Without it the ticks have to do.
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    boot.unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileTypeExt;
    use std::process::{Command, Stdio};

    fn sleeper() -> Child {
        let mut command = Command::new("sleep");
        command.arg("100").stdout(Stdio::null()).spawn().unwrap()
    }

    #[test]
    fn a_process_is_found_again_and_its_end_is_noticed_without_being_its_parent() {
        let mut child = sleeper();
        let number = child.id().cast_signed();
        let found = Process::find(number, None).unwrap();
        assert!(!found.has_ended() && found.age() < Duration::from_secs(60));
        let again = Process::find(number, Some(found.start())).unwrap();
        assert!(Process::find(number, Some(found.start() + 1)).is_err());
        let output = again.open(1, OpenOptions::new().write(true)).unwrap();
        assert!(output.metadata().unwrap().file_type().is_char_device());
        again.kill();
        assert!(found.ends_within(Duration::from_secs(30)));
        assert!(again.open(1, OpenOptions::new().write(true)).is_err());
        child.wait().unwrap();
        assert!(Process::find(number, Some(found.start())).is_err());
    }

    #[test]
    fn a_child_has_a_status() {
        let process = Process::of_child(sleeper()).unwrap();
        process.kill();
        assert!(process.ends_within(Duration::from_secs(30)));
        assert!(!process.bury().unwrap().success());
    }
}
