//! Copies between private and shared memory, hot in the cache, compared with `memcpy`.
//!
//! `skewed`: the destination is 8 bytes ahead of the source modulo 4096, as it often is in a ring,
//! whose payload starts 8 bytes after a header. Some processors' block instructions are many
//! times slower there.

use std::hint::black_box;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Throughput};
use shmem_benches::{harness, race};
use shmem_core::Mapping;

const SIZES: [usize; 9] = [8, 16, 64, 256, 512, 1024, 4096, 16 << 10, 64 << 10];
const PAGE: usize = 4096;

#[repr(align(4096))]
struct Private([u8; (64 << 10) + PAGE]);

fn main() {
    let mut criterion = harness::criterion();
    let mut group = harness::group(&mut criterion, "copy");
    race::pin(0);
    for size in SIZES {
        group.throughput(Throughput::Bytes(size as u64));
        compare(&mut group, "", 64, size);
    }
    for size in [512, 4096] {
        group.throughput(Throughput::Bytes(size as u64));
        compare(&mut group, " skewed", PAGE - 8, size);
    }
    group.finish();
    criterion.final_summary();
}

/// Copies `size` bytes between the start of a page and offset `at` of another page.
fn compare(group: &mut BenchmarkGroup<'_, WallTime>, skew: &str, at: usize, size: usize) {
    let memory = Mapping::memfd("bench", 64 << 10).expect("a memfd");
    let window = memory.window();
    let new = || Box::new(Private([1; (64 << 10) + PAGE]));
    let (mut private, mut other) = (new(), new());
    let here = &mut private.0[at..at + size];
    group.bench_function(BenchmarkId::new(format!("write{skew}"), size), |bencher| {
        bencher.iter(|| window.write(0, black_box(here)));
    });
    group.bench_function(BenchmarkId::new(format!("memcpy{skew}"), size), |bencher| {
        bencher.iter(|| black_box(&mut other.0[..size]).copy_from_slice(black_box(here)));
    });
    if skew.is_empty() {
        group.bench_function(BenchmarkId::new("read", size), |bencher| {
            bencher.iter(|| window.read(0, black_box(here)));
        });
    }
}
