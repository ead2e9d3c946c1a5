//! The guarantees of attaching while a peer stores between any two of its loads.
#![cfg(all(feature = "noncoherent", feature = "alloc", not(loom)))]

use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::sync::Once;

use shmem_core::cache::{maintain, Maintenance};
use shmem_core::mem::Heap;
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::region::AttachError;
use shmem_core::{Region, Window};

thread_local! {
    /// Called before each load of this thread.
    static PEER: RefCell<Option<Box<dyn FnMut()>>> = const { RefCell::new(None) };
}

/// Attaches, and calls `peer` before each load.
fn attach_beside(
    memory: Window<'static>,
    peer: impl FnMut() + 'static,
) -> Result<Region<'static>, AttachError> {
    unsafe extern "C" fn clean(_: *const c_void, _: usize) {}
    unsafe extern "C" fn invalidate(_: *const c_void, _: usize) {
        // `None` while the peer itself loads.
        let peer = PEER.take();
        if let Some(mut peer) = peer {
            peer();
            PEER.set(Some(peer));
        }
    }
    static MAINTENANCE: Maintenance = Maintenance { clean, invalidate };
    static ONCE: Once = Once::new();
    // SAFETY: neither accesses the bytes that it is called with.
    ONCE.call_once(|| unsafe { maintain(&MAINTENANCE) });
    PEER.set(Some(Box::new(peer)));
    let attached = Region::attach(memory);
    PEER.set(None);
    attached
}

fn memory(len: usize) -> Window<'static> {
    Box::leak(Box::new(Heap::new(len))).window()
}

#[test]
fn attach_finds_a_header_of_one_generation_if_a_format_precedes_any_load() {
    for at in 0..20 {
        let whole = memory(264);
        Region::format(whole.sub(0, 256).unwrap()).unwrap();
        let loads = Cell::new(0);
        let format = move || {
            if loads.replace(loads.get() + 1) == at {
                Region::format(whole).unwrap();
            }
        };
        let region = attach_beside(whole, format).unwrap();
        let found = (region.memory().len(), region.generation());
        let is_formatted_again = whole.word(12).load(Relaxed) == 2;
        assert!(matches!(found, (256, 1) | (264, 2)), "{at}: {found:?}");
        let is_old = found.1 == 1;
        assert_eq!(region.is_stale(), is_old && is_formatted_again, "{at}");
    }
}

#[test]
fn a_header_that_changes_at_every_load_is_reported_as_being_formatted() {
    let memory = memory(256);
    Region::format(memory).unwrap();
    let generation = memory.word(12);
    let format = move || generation.store(generation.load(Relaxed) + 1, Relaxed);
    let error = attach_beside(memory, format).err().unwrap();
    assert_eq!(error, AttachError::BeingFormatted);
    assert!(error.to_string().contains("try again"));
    assert!(Region::attach(memory).is_ok());
}
