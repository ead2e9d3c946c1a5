//! A stream of messages from one core to the other; the time is per message.

use criterion::BenchmarkGroup;
use criterion::measurement::WallTime;
use shmem_benches::{harness, ours, ringbuf, rtrb, typed};

fn main() {
    let mut criterion = harness::criterion();
    let mut group = harness::group(&mut criterion, "one_way");
    small(&mut group);
    middle(&mut group);
    hand_over(&mut group);
    page(&mut group);
    group.finish();
    criterion.final_summary();
}

fn small(group: &mut BenchmarkGroup<'_, WallTime>) {
    harness::compare(
        group,
        8,
        &[
            ("ours push", ours::push_pop::<8>),
            ("ours typed", typed::push_pop::<8>),
            ("ours typed slice x32", typed::slice::<8, 32>),
            ("ours batch x32", ours::batch::<8, 32>),
            ("ours reserve", ours::in_place::<8>),
            ("rtrb push", rtrb::push_pop::<8>),
            ("rtrb chunk x1", rtrb::chunk::<8, 1>),
            ("rtrb chunk x32", rtrb::chunk::<8, 32>),
            ("rtrb framed", rtrb::framed::<8>),
            ("ringbuf push", ringbuf::push_pop::<8>),
            ("ringbuf slice x32", ringbuf::slice::<8, 32>),
        ],
    );
}

fn middle(group: &mut BenchmarkGroup<'_, WallTime>) {
    harness::compare(
        group,
        64,
        &[
            ("ours push", ours::push_pop::<64>),
            ("ours typed", typed::push_pop::<64>),
            ("ours typed slice x32", typed::slice::<64, 32>),
            ("ours batch x32", ours::batch::<64, 32>),
            ("ours reserve", ours::in_place::<64>),
            ("ours hand-over", ours::hand_over::<64>),
            ("rtrb push", rtrb::push_pop::<64>),
            ("rtrb chunk x1", rtrb::chunk::<64, 1>),
            ("rtrb chunk x32", rtrb::chunk::<64, 32>),
            ("rtrb framed", rtrb::framed::<64>),
            ("ringbuf push", ringbuf::push_pop::<64>),
            ("ringbuf slice x32", ringbuf::slice::<64, 32>),
        ],
    );
}

/// From here on, each record begins in cache lines of its own.
fn hand_over(group: &mut BenchmarkGroup<'_, WallTime>) {
    harness::compare(group, 248, &[("ours hand-over", ours::hand_over::<248>)]);
    harness::compare(group, 1016, &[("ours hand-over", ours::hand_over::<1016>)]);
    harness::compare(group, 8248, &[("ours hand-over", ours::hand_over::<8248>)]);
}

fn page(group: &mut BenchmarkGroup<'_, WallTime>) {
    harness::compare(
        group,
        4096,
        &[
            ("ours push", ours::push_pop::<4096>),
            ("ours typed", typed::push_pop::<4096>),
            ("ours batch x8", ours::batch::<4096, 8>),
            ("ours reserve", ours::in_place::<4096>),
            ("ours hand-over", ours::hand_over::<4096>),
            ("rtrb push", rtrb::push_pop::<4096>),
            ("rtrb chunk x1", rtrb::chunk::<4096, 1>),
            ("rtrb chunk x8", rtrb::chunk::<4096, 8>),
            ("rtrb framed", rtrb::framed::<4096>),
            ("ringbuf push", ringbuf::push_pop::<4096>),
            ("ringbuf slice x8", ringbuf::slice::<4096, 8>),
        ],
    );
}
