//! A segment found by its identifier, compared with the standard library's map.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use shmem_core::{Mapping, Region};
use shmem_registry::{Geometry, Id, Kind, Process, Registry, Request};

use crate::race::pin;

/// A registry of segments, and a map with as many entries.
struct Tables {
    registry: Registry<'static>,
    map: HashMap<u64, (usize, usize)>,
    /// The identifiers, in random order.
    order: Vec<Id>,
}

/// Lookups in our registry.
pub fn ours<const N: usize>(count: u64) -> Duration {
    let Tables {
        registry, order, ..
    } = tables::<N>();
    timed(count, order, |id| {
        let segment = registry.lookup(id).expect("the segment exists");
        black_box((segment.offset(), segment.len()));
    })
}

/// Lookups in a `HashMap` from identifiers to offsets and lengths.
pub fn map<const N: usize>(count: u64) -> Duration {
    let Tables { map, order, .. } = tables::<N>();
    timed(count, order, |id| {
        black_box(*map.get(&id.get()).expect("the segment exists"));
    })
}

fn timed(count: u64, order: &[Id], mut find: impl FnMut(Id)) -> Duration {
    pin(0);
    let start = Instant::now();
    for n in 0..count as usize {
        find(order[n % order.len()]);
    }
    start.elapsed()
}

fn tables<const N: usize>() -> &'static Tables {
    static SIZES: [OnceLock<Tables>; 3] = [const { OnceLock::new() }; 3];
    let at = match N {
        ..100 => 0,
        100..10_000 => 1,
        _ => 2,
    };
    SIZES[at].get_or_init(|| make(N))
}

fn make(segments: usize) -> Tables {
    const BLOCK: usize = 128;
    let rows = segments.next_power_of_two();
    let geometry = Geometry {
        segments: rows,
        partitions: 2,
        block_size: BLOCK,
    };
    // The tables take 200 bytes a segment.
    let len = (rows * (BLOCK + 256) + 8192).next_multiple_of(4096);
    let mapping = Box::leak(Box::new(Mapping::memfd("bench", len).expect("a memfd")));
    let region = Region::format(mapping.window()).expect("long enough");
    let registry = Registry::format(region, geometry).expect("long enough");
    let attachment = registry.attach_partition(1, Process::UNKNOWN);
    let attachment = attachment.expect("the slot is free");
    let mut map = HashMap::new();
    let mut order = Vec::new();
    for number in 0..segments {
        let id = Id::from_name(format!("segment {number}"));
        let request = Request::new(id, Kind::RAW, BLOCK).expect("the length is not 0");
        let segment = registry.open_or_create(&attachment, &request);
        let segment = segment.expect("there is room");
        map.insert(id.get(), (segment.offset(), segment.len()));
        order.push(id);
    }
    // The order of hashes is random.
    order.sort_by_key(|id| id.get());
    Tables {
        registry,
        map,
        order,
    }
}
