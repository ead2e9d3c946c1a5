//! Memory to which somebody attaches whom KMON did not start, as a body.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::bail;
use kmon_protocol::link::LET_GO;
use shmem_core::{Mapping, Region};

use super::common::{Backend, Condition, End, LastWords};
use crate::kind::External;

/// There is nothing but the memory.
struct Attached {
    since: Instant,
    let_go: AtomicBool,
}

pub(super) fn body() -> Arc<dyn Backend> {
    Arc::new(Attached {
        since: Instant::now(),
        let_go: AtomicBool::new(false),
    })
}

/// The memory, after those who used the region that was there have let go of it
/// (`kmon_protocol::link`, A4).
pub(super) fn vacate(external: &External) -> anyhow::Result<Mapping> {
    let memory = external.region.open()?;
    let window = memory.window();
    if Region::attach(window).is_ok() {
        // Its first word is the magic.
        window.write(0, &[0; 4]);
        std::thread::sleep(LET_GO);
    }
    Ok(memory)
}

pub(super) fn find(external: &External) -> anyhow::Result<(Arc<dyn Backend>, Mapping)> {
    Ok((body(), external.region.open()?))
}

impl Backend for Attached {
    fn condition(&self, said: LastWords) -> Condition {
        if (said.asked && said.goodbye) || self.let_go.load(Ordering::Relaxed) {
            return Condition::Ended(End {
                in_order: true,
                how: "KMON has let go of it".into(),
            });
        }
        Condition::Lives
    }

    fn kill(&self) {
        self.let_go.store(true, Ordering::Relaxed);
    }

    fn pid(&self) -> Option<i32> {
        None
    }

    fn age(&self) -> Duration {
        self.since.elapsed()
    }

    fn pause(&self) -> anyhow::Result<()> {
        bail!("KMON did not start it, and cannot stop it")
    }

    fn resume(&self) -> anyhow::Result<()> {
        bail!("KMON did not start it, and does not pause it")
    }
}
