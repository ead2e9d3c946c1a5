//! The harness's handle of a process that may be killed.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use shmem_core::Mapping;

use super::arguments::{COMMAND, Task};
use crate::verdict::{OrViolation, Outcome, Violation, unexpected};

/// A process of this program. Dropping it kills the process.
pub(super) struct Process {
    child: Child,
    handle: OwnedFd,
    /// Whether it kills itself.
    pub(super) armed: bool,
}

impl Process {
    /// Starts a process on the memory of a round.
    pub(super) fn spawn(memory: &Mapping, task: &Task) -> Outcome<Self> {
        let program = std::env::current_exe().or_violation("this program")?;
        let memory = memory.as_fd().try_clone_to_owned();
        let memory = memory.or_violation("the memory's descriptor")?;
        let mut child = Command::new(program)
            .args([COMMAND, &task.word()])
            .stdin(Stdio::from(memory))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // The harness alone handles an interrupt.
            .process_group(0)
            .spawn()
            .or_violation("starting a process")?;
        match pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
            Ok(handle) => Ok(Self {
                child,
                handle,
                armed: task.armed.is_some(),
            }),
            Err(error) => {
                let _ = child.kill();
                Err(unexpected("watching a process", error))
            }
        }
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The descriptor for signals.
    pub(super) fn handle(&self) -> Outcome<OwnedFd> {
        self.handle
            .try_clone()
            .or_violation("a process's descriptor")
    }

    /// Kills it and waits until it is dead. Returns the time at which that was known.
    pub(super) fn kill(&self) -> Outcome<Instant> {
        pidfd_send_signal(&self.handle, Signal::KILL).or_violation("killing")?;
        match self.has_ended(Duration::from_secs(5)) {
            true => Ok(Instant::now()),
            false => Err(Violation::new("a killed process does not end")),
        }
    }

    /// Returns true if it ends within `limit`.
    pub(super) fn has_ended(&self, limit: Duration) -> bool {
        let mut polled = [PollFd::new(&self.handle, PollFlags::IN)];
        let limit = Timespec {
            tv_sec: limit.as_secs() as i64,
            tv_nsec: limit.subsec_nanos().into(),
        };
        poll(&mut polled, Some(&limit)).is_ok_and(|ready| ready != 0)
    }

    /// Reaps it. If it was not killed, returns an error with the text that it printed.
    pub(super) fn reap(mut self) -> Outcome {
        let status = self.child.wait().or_violation("waiting")?;
        if status.signal() == Some(Signal::KILL.as_raw()) {
            return Ok(());
        }
        let mut text = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            let _ = stderr.read_to_string(&mut text);
        }
        let text = text.trim();
        let what = format!("a process ended by itself ({status}): {text}");
        Err(Violation::new(what))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
