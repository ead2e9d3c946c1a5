//! What the logs on disk are written from: the kept output and the kept log of the kernel.

use std::sync::Arc;

use super::log::OutputLog;
use super::shared::{Shared, View};
use crate::disklog::{Extent, Source};

/// The output of an instance.
pub(crate) struct Output(pub(crate) Arc<Shared>);

/// The log of its kernel.
pub(crate) struct Kernel(pub(crate) Arc<Shared>);

impl Source for Output {
    fn id(&self) -> u64 {
        self.0.lock().log.id()
    }

    fn extent(&self) -> Extent {
        extent(&self.0.lock().log)
    }

    fn read(&self, position: u64, max: usize) -> (u64, Vec<u8>) {
        read(&self.0, position, max, |view| &view.log)
    }
}

impl Source for Kernel {
    fn id(&self) -> u64 {
        self.0.lock().kernel_log.id()
    }

    fn extent(&self) -> Extent {
        extent(&self.0.lock().kernel_log)
    }

    fn read(&self, position: u64, max: usize) -> (u64, Vec<u8>) {
        read(&self.0, position, max, |view| &view.kernel_log)
    }
}

fn extent(log: &OutputLog) -> Extent {
    Extent {
        start: log.start(),
        end: log.end(),
        dropped: log.dropped_by_guestd(),
    }
}

fn read(
    shared: &Shared,
    position: u64,
    max: usize,
    log: impl Fn(&View) -> &OutputLog,
) -> (u64, Vec<u8>) {
    log(&shared.lock()).read(position, max)
}
