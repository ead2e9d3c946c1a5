//! Processes of this machine as a body.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use shmem_core::Mapping;

use super::common::{Backend, Condition, End, LastWords, Say, Spawned};
use super::launch::Launch;
use crate::embedded;
use kmon_qemu::Process;

/// The instance's first process, with which all others die.
struct First(Process);

pub(super) fn of(first: Process) -> Arc<dyn Backend> {
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
    Ok(Spawned::Waits(embedded::spawn(&made, region)?))
}

pub(super) fn find(
    kept: &embedded::BackendRecord,
    say: Say,
) -> anyhow::Result<(Arc<dyn Backend>, Mapping)> {
    let (process, memory) = embedded::find(kept)?;
    embedded::listen_to(&process, kept, say);
    Ok((of(process), memory))
}

impl Backend for First {
    fn condition(&self, said: LastWords) -> Condition {
        if !self.0.has_ended() {
            return Condition::Lives;
        }
        let status = self.0.reap();
        Condition::Ended(End {
            in_order: said.goodbye && status.is_none_or(|status| status.success()),
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
        // SIGSTOP is seen by their parents, and SIGCONT wakes those that were stopped before.
        bail!("it consists of processes of this machine, which cannot be stopped unnoticed")
    }

    fn resume(&self) -> anyhow::Result<()> {
        bail!("it consists of processes of this machine, which are never paused")
    }
}
