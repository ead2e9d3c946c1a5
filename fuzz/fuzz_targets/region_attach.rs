//! Arbitrary bytes as a region: attaching to it, and to objects inside it,
//! reports errors and never accesses memory outside.

#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use shmem_core::layout::{MAGIC, VERSION};
use shmem_core::mem::Heap;
use shmem_core::ring::{OnRestart, Ring};
use shmem_core::snapshot::{Reader, Writer};
use shmem_core::{Incarnation, Region, Window};
use shmem_fuzz::{Many, PeerStore, Rarely, expand, memory};

#[derive(Arbitrary, Debug)]
struct Input {
    len: u16,
    /// True if the memory is zeroed, otherwise it contains arbitrary bytes.
    fresh: bool,
    /// Plausible first words, so that the later checks are reached.
    header: Option<Header>,
    stores: Many<PeerStore>,
    parts: Many<Part>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
struct Header {
    /// Words that are missing at the region's end.
    missing: u8,
    /// Rarely: other features and another length.
    strange: (Rarely, u32, u16),
}

/// A part of the region in which objects are attached.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Part {
    offset: u16,
    len: u16,
    /// If given, the part has a ring's length: 512 + (64 << this), up to 4 KiB of data.
    ring: Option<u8>,
}

fuzz_target!(|data: &[u8]| {
    let data = expand(data);
    let mut bytes = Unstructured::new(&data);
    let Ok(input) = Input::arbitrary(&mut bytes) else {
        return;
    };
    let len = usize::from(input.len % 16384) + 8;
    let heap = match input.fresh {
        true => Heap::new(len),
        false => memory(len, 0, &mut bytes),
    };
    let window = heap.window();
    if let Some(header) = input.header.filter(|_| window.len() >= 24) {
        let (features, length) = match *header.strange.0 {
            true => (header.strange.1, u32::from(header.strange.2)),
            false => (0, window.len() as u32 - u32::from(header.missing % 3) * 8),
        };
        let words = [MAGIC, VERSION, features, 1, length, 0];
        let header: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        window.write(0, &header);
    }
    check_region(window, &input.parts);
    for store in input.stores.iter() {
        store.apply(window);
        check_region(window, &input.parts);
    }
});

fn check_region(window: Window<'_>, parts: &[Part]) {
    let region = match Region::attach(window) {
        Ok(region) => region,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let body = region.body();
    assert!(body.len() < window.len(), "a body larger than the memory");
    // The first and the last word that we may access.
    let last = body.word(body.len() - 4);
    last.store(
        last.load(std::sync::atomic::Ordering::Relaxed),
        std::sync::atomic::Ordering::Relaxed,
    );
    let _ = body.word(0).load(std::sync::atomic::Ordering::Relaxed);
    assert!(
        !region.is_stale(),
        "a region is current when it is attached"
    );
    for part in parts {
        let len = match part.ring {
            Some(shift) => Ring::segment_len(64 << (shift % 7)),
            None => usize::from(part.len % 1024),
        };
        let offset = usize::from(part.offset) % body.len() / 8 * 8;
        if let Ok(segment) = body.sub(offset, len) {
            attach_inside(segment);
        }
    }
}

fn attach_inside(segment: Window<'_>) {
    if let Ok(reader) = Reader::attach(segment) {
        let mut value = [0; 300];
        if let Ok(len) = reader.read(&mut value) {
            assert!(len <= value.len());
        }
    }
    if let Ok(mut writer) = Writer::attach(segment) {
        let value = vec![1; writer.max_len()];
        writer.write(&value).expect("a value of the longest length");
    }
    if let Ok(ring) = Ring::attach(segment) {
        let mut record = vec![0; ring.max_record()];
        if let Ok(mut consumer) = ring.take_over_consumer(Incarnation::first(2), OnRestart::Discard)
        {
            let _ = consumer.pop(&mut record);
        }
        if let Ok(mut producer) = ring.take_over_producer(Incarnation::first(1)) {
            let _ = producer.push(&record);
        }
    }
}
