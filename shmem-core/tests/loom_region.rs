//! Models of attaching, and of an attached handle, while another partition formats.
#![cfg(loom)]

use loom::thread;
use shmem_core::mem::Heap;
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::region::AttachError;
use shmem_core::{Region, Window};

/// A word of the body, which a format zeroes.
const WORD: usize = 128;

fn attach(memory: Window<'static>) -> Region<'static> {
    loop {
        match Region::attach(memory) {
            Ok(region) => return region,
            Err(AttachError::NotARegion { magic: 0 } | AttachError::BeingFormatted) => {
                thread::yield_now();
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test] // Kills: Release of `generation` in `format`, the first Acquire in `Header::read`.
fn a_region_with_a_magic_has_a_whole_header() {
    loom::model(|| {
        let memory = Heap::leaked(256).window();
        let peer = thread::spawn(move || {
            Region::format(memory).unwrap();
        });
        let region = attach(memory);
        assert_eq!(region.generation(), 1);
        // Zero, and read without a race with the zeroing.
        region.body().read(0, &mut [0; 8]);
        peer.join().unwrap();
    });
}

#[test] // Kills: the fences in `format` and `Header::read`, Release and Acquire of `magic`.
fn a_header_is_of_one_generation_while_another_partition_formats() {
    loom::model(|| {
        let memory = Heap::leaked(264).window();
        Region::format(memory.sub(0, 256).unwrap()).unwrap();
        let peer = thread::spawn(move || {
            Region::format(memory).unwrap();
        });
        let region = attach(memory);
        let (len, generation) = (region.memory().len(), region.generation());
        assert!(
            matches!((len, generation), (256, 1) | (264, 2)),
            "{len} {generation}"
        );
        peer.join().unwrap();
        assert_eq!(region.is_stale(), generation == 1);
    });
}

#[test] // Kills: the fences in `format` and `is_stale`, Release and Acquire of `magic`.
fn zeroes_of_a_format_are_read_by_stale_handles_only() {
    loom::model(|| {
        let memory = Heap::leaked(256).window();
        let region = Region::format(memory).unwrap();
        memory.word(WORD).store(7, Relaxed);
        let peer = thread::spawn(move || {
            Region::format(memory).unwrap();
        });
        if memory.word(WORD).load(Relaxed) == 0 {
            assert!(region.is_stale());
        }
        peer.join().unwrap();
        assert!(region.is_stale());
    });
}

#[test] // Kills: the fence at the end of `Header::attach`.
fn stores_to_a_later_region_are_read_by_stale_handles_only() {
    loom::model(|| {
        let memory = Heap::leaked(256).window();
        let region = Region::format(memory).unwrap();
        let formats = thread::spawn(move || {
            Region::format(memory).unwrap();
        });
        let stores = thread::spawn(move || {
            if Region::attach(memory).is_ok_and(|region| region.generation() == 2) {
                memory.word(WORD).store(7, Relaxed);
            }
        });
        if memory.word(WORD).load(Relaxed) == 7 {
            assert!(region.is_stale());
        }
        formats.join().unwrap();
        stores.join().unwrap();
    });
}
