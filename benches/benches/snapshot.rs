//! The latest value of 256 bytes: written and read, alone and while the other side is busy.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::Throughput;
use shmem_benches::{harness, race};
use shmem_core::Mapping;
use shmem_core::snapshot::{self, Reader, Writer};

const VALUE: usize = 256;

fn main() {
    let mut criterion = harness::criterion();
    let mut group = harness::group(&mut criterion, "snapshot");
    group.throughput(Throughput::Bytes(VALUE as u64));
    let contenders: [(&str, shmem_benches::Contender); 4] = [
        ("write", |count| alone(|memory| write(memory, count))),
        ("read", |count| alone(|memory| read(memory, count))),
        ("write while read", write_while_read),
        ("read while written", read_while_written),
    ];
    for (name, contender) in contenders {
        group.bench_function(name, |bencher| bencher.iter_custom(contender));
    }
    group.finish();
    criterion.final_summary();
}

fn memory() -> Mapping {
    let memory = Mapping::memfd("bench", snapshot::segment_len(VALUE)).expect("a memfd");
    write(&memory, 2);
    memory
}

fn write(memory: &Mapping, count: u64) {
    let mut writer = Writer::attach(memory.window()).expect("room for two slots");
    let mut value = [0; VALUE];
    for n in 0..count {
        shmem_benches::stamp(&mut value, n);
        writer.write(&value).expect("a value that fits");
    }
}

fn read(memory: &Mapping, count: u64) {
    let reader = Reader::attach(memory.window()).expect("room for two slots");
    let mut value = [0; VALUE];
    for _ in 0..count {
        // A reader that was overtaken too often tries again; its time includes that.
        while reader.read(&mut value).is_err() {}
        black_box(&value);
    }
}

fn alone(work: impl FnOnce(&Mapping)) -> Duration {
    let memory = memory();
    race::pin(0);
    let start = Instant::now();
    work(&memory);
    start.elapsed()
}

/// The other side works in runs of this many, so that the time of attaching is negligible.
const RUN: u64 = 1_000;

fn write_while_read(count: u64) -> Duration {
    let memory = memory();
    race::with_noise(|| read(&memory, RUN), || write(&memory, count))
}

fn read_while_written(count: u64) -> Duration {
    let memory = memory();
    race::with_noise(|| write(&memory, RUN), || read(&memory, count))
}
