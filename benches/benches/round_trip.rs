//! A message and its echo, compared with bare cache lines, which are the limit.

use shmem_benches::{harness, line, ours, ringbuf, rtrb};

fn main() {
    let mut criterion = harness::criterion();
    let mut group = harness::group(&mut criterion, "round_trip");
    let limit: [(&str, shmem_benches::Contender); 2] = [
        ("limit/one line", line::one),
        ("limit/two lines", line::two),
    ];
    for (name, contender) in limit {
        group.bench_function(name, |bencher| bencher.iter_custom(contender));
    }
    harness::compare(
        &mut group,
        8,
        &[
            ("ours", ours::round_trip::<8>),
            ("rtrb", rtrb::round_trip::<8>),
            ("ringbuf", ringbuf::round_trip::<8>),
        ],
    );
    harness::compare(
        &mut group,
        64,
        &[
            ("ours", ours::round_trip::<64>),
            ("rtrb", rtrb::round_trip::<64>),
            ("ringbuf", ringbuf::round_trip::<64>),
        ],
    );
    group.finish();
    criterion.final_summary();
}
