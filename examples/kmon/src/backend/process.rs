//! Processes of this machine, as a backend.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use shmem_core::Mapping;

use super::common::{Backend, Condition, End, EndSignals, MessageSink, Spawned};
use super::launch::Launch;
use crate::embedded;
use kmon_qemu::Process;

/// The instance's first process; all others end with it.
struct First(Process);

pub(super) fn from_process(first: Process) -> Arc<dyn Backend> {
    Arc::new(First(first))
}

pub(super) fn start(
    launch: &Launch<'_>,
    shell: Option<&Path>,
    memory: &Mapping,
) -> anyhow::Result<Spawned> {
    let made = embedded::Launch {
        kmon: &launch.programs.kmon,
        guestd: &launch.programs.guestd,
        shell,
        name: launch.name,
    };
    let region = memory.as_fd().try_clone_to_owned()?;
    Ok(Spawned::Waiting(embedded::spawn(&made, region)?))
}

pub(super) fn find(
    record: &embedded::ProcessRecord,
    report: MessageSink,
) -> anyhow::Result<(Arc<dyn Backend>, Mapping)> {
    let (process, memory) = embedded::find(record)?;
    embedded::listen_to(&process, record, report);
    Ok((from_process(process), memory))
}

impl Backend for First {
    fn condition(&self, signals: EndSignals) -> Condition {
        if !self.0.has_ended() {
            return Condition::Alive;
        }
        let status = self.0.reap();
        Condition::Ended(End {
            is_clean: signals.goodbye && status.is_none_or(|status| status.success()),
            how: embedded::describe_end(status),
        })
    }

    fn kill(&self) {
        self.0.kill();
    }

    fn pid(&self) -> Option<i32> {
        None
    }

    fn age(&self) -> Duration {
        self.0.age()
    }

    fn guestd(&self, inside: u32) -> Option<Process> {
        embedded::guestd_process(&self.0, inside)
    }

    fn ends_with_guestd(&self) -> bool {
        true
    }

    fn pause(&self) -> anyhow::Result<()> {
        // Parents of the processes notice SIGSTOP, and SIGCONT continues those that were already
        // stopped.
        bail!("it runs as processes of this machine, and these cannot be paused unnoticed")
    }

    fn resume(&self) -> anyhow::Result<()> {
        bail!("it runs as processes of this machine, which are never paused")
    }
}
