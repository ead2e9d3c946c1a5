//! A region on the heap, and a platform without a kernel.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use shmem_channel::{Session, SessionOptions, SpinPlatform};
use shmem_core::mem::Heap;
use shmem_core::Region;
use shmem_registry::Registry;

/// A timeout that no test reaches, even on a busy machine.
#[allow(dead_code)] // Not every test program uses it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// A timeout for waits that are expected to fail.
pub(crate) const SHORT: Duration = Duration::from_millis(5);

pub(crate) static SPINNING: SpinPlatform<fn() -> Duration> = SpinPlatform(uptime);

fn uptime() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

/// Returns memory for a region.
pub(crate) fn memory() -> Heap {
    Heap::new(256 << 10)
}

/// Creates the region as partition 1.
pub(crate) fn create(heap: &Heap) -> Session<'_> {
    Session::create(heap.window(), 1, &SPINNING).unwrap()
}

/// Joins the region as `partition`, and takes over from an earlier incarnation, if there is one.
#[allow(dead_code)] // Not every test program restarts a partition.
pub(crate) fn join(heap: &Heap, partition: u8) -> Session<'_> {
    let region = Region::attach(heap.window()).unwrap();
    let slot = Registry::attach(region).unwrap().partition(partition);
    let earlier = slot.unwrap().incarnation;
    let options = SessionOptions::new(partition);
    let options = earlier.map_or(options, |earlier| options.take_over(earlier));
    options.join(heap.window(), &SPINNING).unwrap()
}
