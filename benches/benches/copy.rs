//! Copies between private and shared memory, hot in the cache, beside `memcpy`.

use std::hint::black_box;

use criterion::{BenchmarkId, Throughput};
use shmem_benches::{harness, race};
use shmem_core::Mapping;

const SIZES: [usize; 9] = [8, 16, 64, 256, 512, 1024, 4096, 16 << 10, 64 << 10];

fn main() {
    let mut criterion = harness::criterion();
    let mut group = harness::group(&mut criterion, "copy");
    let memory = Mapping::memfd("bench", 64 << 10).expect("a memfd");
    let window = memory.window();
    let (mut private, mut other) = (vec![1; 64 << 10], vec![0; 64 << 10]);
    race::pin(0);
    for size in SIZES {
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::new("write", size), |bencher| {
            bencher.iter(|| window.write(0, black_box(&private[..size])));
        });
        group.bench_function(BenchmarkId::new("read", size), |bencher| {
            bencher.iter(|| window.read(0, black_box(&mut private[..size])));
        });
        group.bench_function(BenchmarkId::new("memcpy", size), |bencher| {
            bencher.iter(|| {
                black_box(&mut other[..size]).copy_from_slice(black_box(&private[..size]))
            });
        });
    }
    group.finish();
    criterion.final_summary();
}
