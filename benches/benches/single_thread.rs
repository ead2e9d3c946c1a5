//! 64 bytes sent and received by one thread: no line moves between processors, so it varies least.

use shmem_benches::{harness, ours, ringbuf, rtrb};

fn main() {
    let mut criterion = harness::criterion();
    let mut group = harness::group(&mut criterion, "single_thread");
    harness::compare(
        &mut group,
        64,
        &[
            ("ours", ours::alone::<64>),
            ("rtrb", rtrb::alone::<64>),
            ("ringbuf", ringbuf::alone::<64>),
        ],
    );
    group.finish();
    criterion.final_summary();
}
