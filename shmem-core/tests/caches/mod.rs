//! A simulated machine: partitions whose data caches are not coherent.
//!
//! Each partition works on private memory, its cache. Cleaning and invalidating copy
//! whole lines to and from the shared memory; no store reaches the peer in another way.
//! At first a cache contains bytes that no partition stored.

use std::ffi::c_void;
use std::sync::atomic::{fence, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Once, RwLock};

use shmem_core::cache::{maintain, Maintenance};
use shmem_core::mem::Heap;
use shmem_core::Window;

/// The shared memory, and the cache of each partition.
pub(crate) struct Machine {
    memory: Heap,
    caches: [Heap; 2],
    /// Bytes of a line of the caches.
    line: usize,
    len: usize,
}

/// All machines, because the two functions receive only an address.
static MACHINES: RwLock<Vec<&Machine>> = RwLock::new(Vec::new());

impl Machine {
    /// Returns a machine with `len` bytes of zeroed memory and cache lines of `line` bytes.
    pub(crate) fn new(line: usize, len: usize) -> &'static Self {
        static ONCE: Once = Once::new();
        let len = len.next_multiple_of(line);
        let machine = Self {
            memory: Heap::new(len),
            caches: [Heap::new(len), Heap::new(len)],
            line,
            len,
        };
        for cache in &machine.caches {
            cache.window().write(0, &vec![0xa5; len]);
        }
        let machine = &*Box::leak(Box::new(machine));
        MACHINES.write().unwrap().push(machine);
        // SAFETY: both ignore bytes that are in no cache of a machine.
        ONCE.call_once(|| unsafe { maintain(&MAINTENANCE) });
        machine
    }

    /// Returns the memory as a partition sees it.
    pub(crate) fn window(&'static self, partition: usize) -> Window<'static> {
        self.caches[partition].window()
    }

    /// Returns the cache that contains the address.
    fn find_cache(&self, at: usize) -> Option<&Heap> {
        let contains = |cache: &&Heap| (base(cache)..base(cache) + self.len).contains(&at);
        self.caches.iter().find(contains)
    }
}

fn base(heap: &Heap) -> usize {
    heap.window().address().as_ptr() as usize
}

/// Copies the lines that contain the bytes at an address in a cache: to the memory if `up`,
/// otherwise from it.
fn copy(at: *const c_void, len: usize, up: bool) {
    let at = at as usize;
    let machines = MACHINES.read().unwrap();
    let found = machines
        .iter()
        .find_map(|machine| Some((machine, base(machine.find_cache(at)?))));
    let Some((machine, cache)) = found else {
        return;
    };
    let memory = base(&machine.memory);
    let first = (at - cache) / machine.line * machine.line;
    let end = (at - cache + len).next_multiple_of(machine.line);
    for offset in (first..end.min(machine.len)).step_by(8) {
        // SAFETY: inside both, 8-byte aligned; a machine is never freed.
        let word = |base: usize| unsafe { AtomicU64::from_ptr((base + offset) as *mut u64) };
        let (from, to) = if up { (cache, memory) } else { (memory, cache) };
        let value = word(from).load(Relaxed);
        if word(to).load(Relaxed) != value {
            word(to).store(value, Relaxed);
        }
    }
}

unsafe extern "C" fn clean(at: *const c_void, len: usize) {
    copy(at, len, true);
    fence(SeqCst);
}

unsafe extern "C" fn invalidate(at: *const c_void, len: usize) {
    fence(SeqCst);
    copy(at, len, false);
}

static MAINTENANCE: Maintenance = Maintenance { clean, invalidate };
