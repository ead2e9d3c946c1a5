//! Model of attaching while another partition formats.
#![cfg(loom)]

use loom::thread;
use shmem_core::mem::Heap;
use shmem_core::region::AttachError;
use shmem_core::Region;

#[test] // Kills: Release in `format`, Acquire in `attach`.
fn a_region_with_a_magic_has_a_whole_header() {
    loom::model(|| {
        let memory = Heap::leaked(256).window();
        let peer = thread::spawn(move || {
            Region::format(memory, 0).unwrap();
        });
        let region = loop {
            match Region::attach(memory) {
                Ok(region) => break region,
                Err(AttachError::NotARegion { magic: 0 }) => thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        };
        assert_eq!(region.incarnation(), 1);
        // Zero, and read without a race with the zeroing.
        region.body().read(0, &mut [0; 8]);
        peer.join().unwrap();
    });
}
