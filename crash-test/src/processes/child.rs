//! A victim, as the harness has it.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use shmem_core::Mapping;

use super::victim;
use crate::scenario::{Outcome, Violation, unexpected};

/// A process that is to be killed; dropped, it is.
pub(super) struct Victim {
    child: Child,
    process: OwnedFd,
    /// Whether it kills itself.
    pub(super) armed: bool,
}

impl Victim {
    /// Starts a victim on the memory of a stage.
    pub(super) fn spawn(memory: &Mapping, arguments: &victim::Arguments) -> Outcome<Self> {
        let program = std::env::current_exe().map_err(unexpected("this program"))?;
        let memory = memory.as_fd().try_clone_to_owned();
        let memory = memory.map_err(unexpected("the memory's descriptor"))?;
        let mut child = Command::new(program)
            .arg(victim::COMMAND)
            .args(arguments.words())
            .stdin(Stdio::from(memory))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // An interrupt is the harness's to deal with.
            .process_group(0)
            .spawn()
            .map_err(unexpected("starting a victim"))?;
        let opened = pidfd_open(Pid::from_child(&child), PidfdFlags::empty());
        match opened {
            Ok(process) => Ok(Self {
                child,
                process,
                armed: arguments.armed.is_some(),
            }),
            Err(error) => {
                let _ = child.kill();
                Err(unexpected("watching a victim")(error))
            }
        }
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What signals reach it by.
    pub(super) fn handle(&self) -> Outcome<OwnedFd> {
        let cloned = self.process.try_clone();
        cloned.map_err(unexpected("a process's descriptor"))
    }

    /// Kills it, and returns when it is dead, with the moment when that was known.
    pub(super) fn kill(&self) -> Outcome<Instant> {
        pidfd_send_signal(&self.process, Signal::KILL).map_err(unexpected("killing"))?;
        match self.has_ended(Duration::from_secs(5)) {
            true => Ok(Instant::now()),
            false => Err(Violation::new("a killed process does not end".to_owned())),
        }
    }

    /// Whether it ends within `limit`.
    pub(super) fn has_ended(&self, limit: Duration) -> bool {
        let mut polled = [PollFd::new(&self.process, PollFlags::IN)];
        let limit = Timespec {
            tv_sec: limit.as_secs() as i64,
            tv_nsec: limit.subsec_nanos().into(),
        };
        poll(&mut polled, Some(&limit)).is_ok_and(|ready| ready != 0)
    }

    /// Takes it off the kernel's list. An error if it did not die of a kill: then it
    /// said why.
    pub(super) fn bury(mut self) -> Outcome {
        use std::os::unix::process::ExitStatusExt;
        let status = self.child.wait().map_err(unexpected("waiting"))?;
        if status.signal() == Some(Signal::KILL.as_raw()) {
            return Ok(());
        }
        let mut text = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            let _ = stderr.read_to_string(&mut text);
        }
        Err(Violation::new(format!(
            "a process ended by itself ({status}): {}",
            text.trim()
        )))
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
