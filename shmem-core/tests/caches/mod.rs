//! Partitions, each behind a data cache that nothing keeps coherent.
//!
//! A partition works on memory of its own, its cache; cleaning and invalidating copy
//! whole lines to and from the memory that all share. What gets across got across by
//! them. At first a cache holds what nobody stored.

use std::ffi::c_void;
use std::sync::atomic::{fence, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Once, RwLock};

use shmem_core::cache::{maintain, Maintenance};
use shmem_core::mem::Heap;
use shmem_core::Window;

/// What partitions share, and the cache of each.
pub(crate) struct Machine {
    memory: Heap,
    caches: [Heap; 2],
    /// Bytes of a line of the caches.
    line: usize,
    len: usize,
}

/// All of them, since the two functions know an address only.
static MACHINES: RwLock<Vec<&Machine>> = RwLock::new(Vec::new());

impl Machine {
    /// One whose caches have lines of `line` bytes, over `len` bytes of zeroed memory.
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
        // SAFETY: both do nothing to bytes that are in no cache of a machine.
        ONCE.call_once(|| unsafe { maintain(&MAINTENANCE) });
        machine
    }

    /// The memory as a partition sees it.
    pub(crate) fn window(&'static self, partition: usize) -> Window<'static> {
        self.caches[partition].window()
    }

    /// The cache that holds the address.
    fn cache_of(&self, at: usize) -> Option<&Heap> {
        let holds = |cache: &&Heap| (base(cache)..base(cache) + self.len).contains(&at);
        self.caches.iter().find(holds)
    }
}

fn base(heap: &Heap) -> usize {
    heap.window().address().as_ptr() as usize
}

/// Copies the lines that hold the bytes, given by their address in a cache; `up` is
/// to the memory.
fn copy(at: *const c_void, len: usize, up: bool) {
    let at = at as usize;
    let machines = MACHINES.read().unwrap();
    let found = machines
        .iter()
        .find_map(|machine| Some((machine, base(machine.cache_of(at)?))));
    let Some((machine, cache)) = found else {
        return;
    };
    let memory = base(&machine.memory);
    let first = (at - cache) / machine.line * machine.line;
    let end = (at - cache + len).next_multiple_of(machine.line);
    for offset in (first..end.min(machine.len)).step_by(8) {
        // SAFETY: inside both, 8-byte aligned; they live for ever.
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
