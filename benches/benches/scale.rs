//! How much time a monitor spends on many partitions, with a region for each.
//!
//! A *poll* checks once everything that each partition may have for the monitor: a record in
//! its ring, a heartbeat, a new value of its snapshot. All partitions but one are idle. It reports
//! and never fails on its results.

use std::hint::black_box;
use std::time::{Duration, Instant};

use shmem_benches::race::pin;
use shmem_channel::{Received, Receiver, SameKernel, Sender, Session};
use shmem_core::ring::OnRestart;
use shmem_core::snapshot::{Reader, Writer, segment_len};
use shmem_core::{Mapping, Window};
use shmem_registry::{Kind, Segment};

/// Bytes of a partition's region.
const REGION: usize = 2 << 20;
const RING: usize = 64 << 10;
const VALUE: usize = 1000;

/// The monitor's side of one partition, and the partition's own side.
struct Partition {
    monitor: Session<'static>,
    results: Receiver<'static>,
    stats: Reader<'static>,
    sequence: u32,
    heartbeat: u32,
    session: Session<'static>,
    result: Sender<'static>,
    writer: Writer<'static>,
}

impl Partition {
    fn new() -> Self {
        let mapping = Box::leak(Box::new(Mapping::memfd("scale", REGION).expect("a memfd")));
        let window: Window<'static> = mapping.window();
        let monitor = Session::create(window, 1, &SameKernel).expect("long enough");
        let session = Session::join(window, 2, &SameKernel).expect("the slot is free");
        let results = monitor.receiver("result", RING, OnRestart::Keep);
        let result = session.sender("result", RING).expect("the end is free");
        let stats = |session: &Session<'static>| {
            let segment = session.segment("stats", Kind::SNAPSHOT, segment_len(VALUE));
            let segment: Segment<'_> = segment.expect("there is room");
            window.sub(segment.offset(), segment.len()).expect("inside")
        };
        Self {
            results: results.expect("the end is free"),
            stats: Reader::attach(stats(&monitor)).expect("long enough"),
            sequence: 0,
            heartbeat: 0,
            writer: Writer::attach(stats(&session)).expect("long enough"),
            monitor,
            session,
            result,
        }
    }

    /// Checks everything once; returns the number of new items.
    fn poll(&mut self, value: &mut [u8]) -> u32 {
        let mut found = 0;
        while let Some(Received::Message(record)) = self.results.peek().expect("an honest peer") {
            black_box(record.len());
            self.results.release().expect("the end is ours");
            found += 1;
        }
        let slot = self
            .monitor
            .registry()
            .partition(2)
            .expect("the partition exists");
        found +=
            u32::from(std::mem::replace(&mut self.heartbeat, slot.heartbeat) != slot.heartbeat);
        let sequence = self.stats.sequence();
        if std::mem::replace(&mut self.sequence, sequence) != sequence {
            black_box(self.stats.read(value).expect("a value"));
            found += 1;
        }
        found
    }

    /// Sends one record, beats once and writes one value.
    fn work(&mut self, value: &[u8]) {
        self.result.try_send(&value[..64]).expect("there is room");
        self.session.beat().expect("the slot is ours");
        self.writer.write(value).expect("it fits");
    }
}

/// Returns the median time of many polls of all partitions, in nanoseconds. `busy` works before
/// each poll.
fn poll_all(partitions: &mut [Partition], busy: Option<usize>) -> f64 {
    let mut value = [7; VALUE];
    let mut times: Vec<f64> = (0..201)
        .map(|_| {
            if let Some(busy) = busy {
                partitions[busy].work(&value);
            }
            let start = Instant::now();
            let found: u32 = partitions
                .iter_mut()
                .map(|partition| partition.poll(&mut value))
                .sum();
            let time = start.elapsed();
            assert!(found >= if busy.is_some() { 3 } else { 0 });
            time.as_nanos() as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Returns the median time to join a region of `len` bytes.
fn join(len: usize) -> Duration {
    let mapping = Mapping::memfd("scale", len).expect("a memfd");
    let _monitor = Session::create(mapping.window(), 1, &SameKernel).expect("long enough");
    let mut times: Vec<Duration> = (0..101)
        .map(|_| {
            let start = Instant::now();
            let session = Session::join(mapping.window(), 2, &SameKernel);
            let time = start.elapsed();
            drop(session.expect("the last session has left"));
            time
        })
        .collect();
    times.sort();
    times[times.len() / 2]
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    // Arguments such as a filter or `--list` are for criterion's benches, and not for this one.
    if has("--list") || arguments.iter().any(|argument| !argument.starts_with('-')) {
        return;
    }
    let is_test = has("--test");
    pin(0);
    println!("\none poll of all partitions; medians\n");
    println!(
        "{:>10} {:>14} {:>14} {:>16}",
        "partitions", "all idle, ns", "for each, ns", "one busy, ns more"
    );
    let mut partitions: Vec<Partition> = Vec::new();
    for count in [2, 16, 64, 256, 1024] {
        if is_test && count > 16 {
            break;
        }
        partitions.resize_with(count, Partition::new);
        let idle = poll_all(&mut partitions, None);
        let busy = poll_all(&mut partitions, Some(count / 2));
        println!(
            "{count:>10} {idle:>14.0} {:>14.1} {:>16.0}",
            idle / count as f64,
            busy - idle
        );
    }
    println!("\njoining a region\n");
    for len in [1_usize << 20, 1 << 25, 1 << 30] {
        if is_test && len > 1 << 25 {
            break;
        }
        println!(
            "{:>10} MiB {:>10.1} us",
            len >> 20,
            join(len).as_nanos() as f64 / 1000.0
        );
    }
}
