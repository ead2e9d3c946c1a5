//! Readers of a snapshot whose hostile writer stores arbitrary words, between our
//! calls and during them; and a writer on the same memory.

#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use shmem_core::Window;
use shmem_core::snapshot::{ReadError, Reader, Writer};
use shmem_fuzz::{Many, PeerStore, Rarely, expand, memory, while_storing};

#[derive(Arbitrary, Debug)]
struct Input {
    len: u16,
    /// True to make all stores from another thread too.
    threaded: Rarely,
    steps: Many<(Step, Option<PeerStore>)>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Step {
    Read(u16),
    ReadValue,
    Sequence,
    Write(u16),
}

fuzz_target!(|data: &[u8]| {
    let data = expand(data);
    let mut bytes = Unstructured::new(&data);
    let Ok(input) = Input::arbitrary(&mut bytes) else {
        return;
    };
    let heap = memory(usize::from(input.len % 2048) + 8, 0, &mut bytes);
    let window = heap.window();
    run(window, &input.steps, true);
    if *input.threaded {
        let stores: Vec<PeerStore> = input.steps.iter().filter_map(|step| step.1).collect();
        while_storing(window, &stores, || run(window, &input.steps, false));
    }
});

/// `quiet`: the peer stores only between calls.
fn run(window: Window<'_>, steps: &[(Step, Option<PeerStore>)], quiet: bool) {
    let (Ok(reader), Ok(mut writer)) = (Reader::attach(window), Writer::attach(window)) else {
        return;
    };
    for (step, store) in steps {
        match step {
            Step::Read(room) => read(reader, usize::from(*room % 2048), writer.max_len(), quiet),
            Step::ReadValue => {
                let _ = reader.read_value::<[u64; 3]>();
            }
            Step::Sequence => {
                reader.sequence();
            }
            Step::Write(len) => write(&mut writer, reader, usize::from(*len % 2048), quiet),
        }
        if let Some(store) = store {
            store.apply(window);
        }
    }
}

fn read(reader: Reader<'_>, room: usize, max: usize, quiet: bool) {
    match reader.read(&mut vec![0; room]) {
        Ok(len) => assert!(len <= room && len <= max),
        Err(ReadError::TooLong { len }) => assert!(len > room && len <= max),
        Err(ReadError::Busy) => assert!(!quiet, "busy without a writer"),
        Err(_) => {}
    }
}

fn write(writer: &mut Writer<'_>, reader: Reader<'_>, len: usize, quiet: bool) {
    let value = vec![7; len];
    let written = writer.write(&value);
    assert_eq!(written.is_ok(), len <= writer.max_len());
    if quiet && written.is_ok() {
        let mut back = vec![0; len];
        assert_eq!(reader.read(&mut back), Ok(len));
        assert_eq!(back, value);
    }
}
