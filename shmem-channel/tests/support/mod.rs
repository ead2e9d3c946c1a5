//! A region on the heap, and a platform without a kernel.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use shmem_channel::{Session, SessionOptions, Spinning};
use shmem_core::mem::Heap;
use shmem_core::Region;
use shmem_registry::Registry;

/// Longer than anything here takes on a busy machine.
#[allow(dead_code)] // Not every test waits so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// Long enough for a look.
pub(crate) const SHORT: Duration = Duration::from_millis(5);

pub(crate) static SPINNING: Spinning<fn() -> Duration> = Spinning(uptime);

fn uptime() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

/// Memory for a region.
pub(crate) fn memory() -> Heap {
    Heap::new(256 << 10)
}

/// Creates the region as partition 1.
pub(crate) fn create(heap: &Heap) -> Session<'_> {
    Session::create(heap.window(), 1, &SPINNING).unwrap()
}

/// Joins it as `partition`, whose earlier incarnation, if there is one, is gone.
#[allow(dead_code)] // Not every test lets a partition come back.
pub(crate) fn join(heap: &Heap, partition: u8) -> Session<'_> {
    let region = Region::attach(heap.window()).unwrap();
    let slot = Registry::attach(region).unwrap().partition(partition);
    let earlier = slot.unwrap().incarnation;
    let options = SessionOptions::new(partition);
    let options = earlier.map_or(options, |earlier| options.take_over(earlier));
    options.join(heap.window(), &SPINNING).unwrap()
}
