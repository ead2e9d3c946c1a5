//! Arbitrary bytes as a region: attaching, and all that can be attached inside,
//! reports what is wrong and never goes outside.

#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use shmem_core::layout::{MAGIC, VERSION};
use shmem_core::ring::Ring;
use shmem_core::snapshot::{Reader, Writer};
use shmem_core::{Region, Window};
use shmem_fuzz::{Scribble, memory};

#[derive(Arbitrary, Debug)]
struct Input {
    len: u16,
    /// Makes the first words plausible, so that the later checks are reached.
    header: Option<(u32, u16)>,
    scribbles: Vec<Scribble>,
    segments: Vec<(u16, u16)>,
}

fuzz_target!(|data: &[u8]| {
    let mut bytes = Unstructured::new(data);
    let Ok(input) = Input::arbitrary(&mut bytes) else {
        return;
    };
    let heap = memory(usize::from(input.len) + 8, 0, &mut bytes);
    let window = heap.window();
    if let Some((features, len)) = input.header.filter(|_| window.len() >= 24) {
        let words = [MAGIC, VERSION, features & 1, 1, u32::from(len), 0];
        let header: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        window.write(0, &header);
    }
    look(window, &input.segments);
    for scribble in input.scribbles {
        scribble.apply(window);
        look(window, &input.segments);
    }
});

fn look(window: Window<'_>, segments: &[(u16, u16)]) {
    let region = match Region::attach(window) {
        Ok(region) => region,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let body = region.body();
    assert!(body.len() < window.len(), "a body larger than the memory");
    // Both ends of what we may touch.
    let last = body.word(body.len() - 4);
    last.store(
        last.load(std::sync::atomic::Ordering::Relaxed),
        std::sync::atomic::Ordering::Relaxed,
    );
    let _ = body.word(0).load(std::sync::atomic::Ordering::Relaxed);
    assert!(!region.is_stale(), "what was just attached is current");
    for (offset, len) in segments {
        if let Ok(segment) = body.sub(usize::from(*offset), usize::from(*len)) {
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
        let value = vec![1; writer.max()];
        writer.write(&value).expect("a value of the longest length");
    }
    if let Ok(ring) = Ring::attach(segment) {
        let mut record = vec![0; ring.max_record()];
        if let Ok(mut consumer) = ring.take_over_consumer(2) {
            let _ = consumer.pop(&mut record);
        }
        if let Ok(mut producer) = ring.take_over_producer(1) {
            let _ = producer.push(&record);
        }
    }
}
