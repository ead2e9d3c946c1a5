//! A registry whose tables a peer scribbles on, between our calls and during them.

#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use shmem_core::mem::Heap;
use shmem_core::{Region, Window};
use shmem_fuzz::{Scribble, while_scribbling};
use shmem_registry::{Geometry, Id, Kind, Registry, Request, Segment};

const LEN: usize = 8 << 10;
/// Where the registry's tables start: behind the headers, which a handle has read once.
const TABLES: usize = 256;

#[derive(Arbitrary, Debug)]
struct Input {
    /// Segments are 2 to the power of this, up to 32.
    segments: u8,
    /// What stands in the tables before the first call.
    table: Vec<Scribble>,
    /// Whether to play all scribbles from another thread too.
    threaded: bool,
    steps: Vec<(Step, Option<Scribble>)>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Step {
    Lookup(u8),
    Create { id: u8, len: u16, align: u8 },
    List,
    Partition(u8),
    Attach,
}

fuzz_target!(|data: &[u8]| {
    let mut bytes = Unstructured::new(data);
    let Ok(input) = Input::arbitrary(&mut bytes) else {
        return;
    };
    let heap = Heap::new(LEN);
    let region = Region::format(heap.window(), 0).expect("memory of a region's length");
    let geometry = Geometry {
        segments: 2 << (input.segments % 5),
        partitions: 4,
        block: 128,
    };
    let registry = Registry::format(region, geometry).expect("room for the tables");
    let tables = heap.window().sub(TABLES, LEN - TABLES).expect("inside");
    input.table.iter().for_each(|word| word.apply(tables));

    run(region, registry, &input.steps, tables);
    if input.threaded {
        let scribbles: Vec<Scribble> = input.steps.iter().filter_map(|step| step.1).collect();
        while_scribbling(tables, &scribbles, || {
            run(region, registry, &input.steps, tables);
        });
    }
});

fn run(
    region: Region<'_>,
    registry: Registry<'_>,
    steps: &[(Step, Option<Scribble>)],
    tables: Window<'_>,
) {
    for (step, scribble) in steps {
        take(region, registry, *step);
        if let Some(scribble) = scribble {
            scribble.apply(tables);
        }
    }
}

fn take(region: Region<'_>, registry: Registry<'_>, step: Step) {
    match step {
        Step::Lookup(id) => {
            let id = Id::new(u64::from(id) + 1).expect("not 0");
            if let Ok(segment) = registry.lookup(id) {
                assert_eq!(segment.id(), id);
                touch(&segment);
            }
        }
        Step::Create { id, len, align } => {
            let id = Id::new(u64::from(id) + 1).expect("not 0");
            let request = Request::new(id, Kind::RAW, usize::from(len % 2048) + 1)
                .and_then(|request| request.aligned(1 << (align % 14)))
                .expect("a request that can be served");
            if let Ok(segment) = registry.open_or_create(1, &request) {
                assert_eq!(segment.len(), usize::from(len % 2048) + 1);
                touch(&segment);
            }
        }
        Step::List => {
            let listed = registry.segments().flatten();
            let count = listed.inspect(touch).count();
            assert!(count <= 2 * registry.geometry().segments);
        }
        Step::Partition(number) => {
            let _ = registry.partition(number);
            let _ = registry.attach_partition(number);
        }
        Step::Attach => {
            let again = Registry::attach(region).expect("the header was left alone");
            assert_eq!(again.geometry(), registry.geometry());
        }
    }
}

/// Reads and writes all of a segment: a row must not lead outside the region.
fn touch(segment: &Segment<'_>) {
    assert!(segment.offset() + segment.len() <= LEN);
    let mut bytes = vec![0; segment.window().len()];
    segment.window().read(0, &mut bytes);
    let _ = segment.name().to_string();
}
