//! A process that may be another's child, known by its descriptor (M4).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::Child;
use std::sync::{Mutex, PoisonError};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::event::End;

pub(crate) struct Process {
    pid: Pid,
    start: u64,
    descriptor: OwnedFd,
    /// Ours to bury, if it is.
    child: Mutex<Option<Child>>,
    end: Mutex<Option<End>>,
}

impl Process {
    /// A process that was just started from here.
    pub(crate) fn of_child(mut child: Child) -> io::Result<Self> {
        let pid = Pid::from_child(&child);
        let found = pidfd_open(pid, PidfdFlags::empty())
            .map_err(io::Error::from)
            .and_then(|descriptor| Ok((descriptor, start_of(pid)?)));
        match found {
            Ok((descriptor, start)) => Ok(Self::of(pid, start, descriptor, Some(child))),
            Err(error) => {
                // Not buried yet, so it is still that one.
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    /// The process with this number that started then, unless it has ended.
    pub(crate) fn find(pid: i32, start: u64) -> Option<Self> {
        let pid = Pid::from_raw(pid)?;
        let descriptor = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        if start_of(pid).ok()? != start {
            return None;
        }
        let process = Self::of(pid, start, descriptor, None);
        // As long as it has not ended, what `/proc` said was said of it.
        (!process.has_ended()).then_some(process)
    }

    fn of(pid: Pid, start: u64, descriptor: OwnedFd, child: Option<Child>) -> Self {
        Self {
            pid,
            start,
            descriptor,
            child: Mutex::new(child),
            end: Mutex::new(None),
        }
    }

    pub(crate) fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// When it started, in the kernel's ticks since the machine's start.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    /// Opens what it has open as descriptor `number` once more.
    pub(crate) fn open(&self, number: i32, options: &OpenOptions) -> io::Result<File> {
        let file = options.open(format!("/proc/{}/fd/{number}", self.pid()))?;
        if self.has_ended() {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(file)
    }

    pub(crate) fn has_ended(&self) -> bool {
        let mut ready = [PollFd::new(self.descriptor.as_fd(), PollFlags::POLLIN)];
        poll(&mut ready, PollTimeout::ZERO).is_ok_and(|count| count > 0)
    }

    /// How it ended, if it has; buries our child.
    pub(crate) fn end(&self) -> Option<End> {
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        if end.is_none() && self.has_ended() {
            let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
            let status = child.take().and_then(|mut child| child.wait().ok());
            *end = Some(status.map_or(End::Unknown, |status| {
                let code = status.code().map(End::Code);
                let signal = status.signal().map(End::Signal);
                code.or(signal).unwrap_or(End::Unknown)
            }));
        }
        *end
    }

    /// Kills it; one that has ended is killed already.
    pub(crate) fn kill(&self) {
        let _ = pidfd_send_signal(&self.descriptor, Signal::KILL);
    }
}

fn start_of(pid: Pid) -> io::Result<u64> {
    let process = procfs::process::Process::new(pid.as_raw_nonzero().get());
    let stat = process.and_then(|process| process.stat());
    Ok(stat.map_err(io::Error::other)?.starttime)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};
    use std::thread;
    use std::time::Duration;

    fn sleeper() -> Process {
        let mut command = Command::new("sleep");
        let child = command.arg("100").stdout(Stdio::null()).spawn().unwrap();
        Process::of_child(child).unwrap()
    }

    fn end_of(process: &Process) -> End {
        loop {
            if let Some(end) = process.end() {
                return end;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_process_is_found_again_unless_its_number_is_anothers() {
        let child = sleeper();
        assert_eq!(child.end(), None);
        let found = Process::find(child.pid(), child.start()).unwrap();
        assert!(Process::find(child.pid(), child.start() + 1).is_none());
        found.kill();
        assert_eq!(end_of(&found), End::Unknown);
        assert!(Process::find(child.pid(), child.start()).is_none());
        assert_eq!(end_of(&child), End::Signal(9));
        assert_eq!(child.end(), Some(End::Signal(9)), "and again");
    }
}
