//! The settings of criterion: short measurements, because there are many contenders.

use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, Throughput};

use crate::Contender;

/// Returns criterion with few samples, so that a whole run takes less than four minutes.
pub fn criterion() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(900))
        .nresamples(5_000)
        .without_plots()
        .configure_from_args()
}

/// Returns a group in which every sample has the same number of messages.
pub fn group<'c>(criterion: &'c mut Criterion, name: &str) -> BenchmarkGroup<'c, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.sampling_mode(SamplingMode::Flat);
    group
}

/// Measures contenders that move messages of `bytes` bytes.
pub fn compare(
    group: &mut BenchmarkGroup<'_, WallTime>,
    bytes: usize,
    contenders: &[(&str, Contender)],
) {
    group.throughput(Throughput::Bytes(bytes as u64));
    for (name, contender) in contenders {
        let id = BenchmarkId::new(*name, format!("{bytes} B"));
        group.bench_function(id, |bencher| bencher.iter_custom(contender));
    }
}
