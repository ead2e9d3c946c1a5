//! The test vectors of `docs/layout.md`, which another implementation can be checked against.
#![cfg(not(loom))]

use std::fmt::Write;

use memoffset::offset_of;
use shmem_core::doorbell::NoDoorbell;
use shmem_core::layout::RingControl;
use shmem_core::mem::Heap;
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::ring::{OnRestart, Ring};
use shmem_core::snapshot::Writer;
use shmem_core::wait::Spin;
use shmem_core::{AssumeAlive, Region};
use shmem_registry::{BlockOwner, Geometry, Id, Kind, Process, Registry, Request};
use shmem_sync::Mutex;

const DOCUMENT: &str = include_str!("../../docs/layout.md");
const DUMP: &str = "../docs/region.txt";
const LEN: usize = 8192;

const GEOMETRY: Geometry = Geometry {
    segments: 4,
    partitions: 2,
    block_size: 128,
};

/// Returns the cells of the table below a heading of the document, row by row.
fn table(heading: &str) -> Vec<Vec<&'static str>> {
    let section = DOCUMENT
        .split(heading)
        .nth(1)
        .expect("the document has this heading");
    let lines = section.lines().skip_while(|line| !line.starts_with("|---"));
    let rows = lines.skip(1).take_while(|line| line.starts_with('|'));
    let cells = |line: &'static str| {
        let cells = line.trim_matches('|').split('|');
        cells.map(|cell| cell.trim().trim_matches('`')).collect()
    };
    rows.map(cells).collect()
}

fn number(text: &str) -> u64 {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).unwrap(),
        None => text.parse().unwrap(),
    }
}

#[test]
fn identifiers_and_buckets_match_the_document() {
    let heap = Heap::new(1 << 16);
    let region = Region::format(heap.window()).unwrap();
    let registry = Registry::format(region, Geometry::default()).unwrap();
    let rows = table("#### Vectors: identifiers");
    assert!(rows.len() >= 3);
    for row in rows {
        let id = Id::from_name(row[0]);
        assert_eq!(id.get(), number(row[1]), "{}", row[0]);
        assert_eq!(registry.bucket_of(id.get()), number(row[2]) as usize);
    }
}

#[test]
fn geometries_match_the_document() {
    let rows = table("#### Vectors: geometry");
    assert!(rows.len() >= 3);
    for row in rows {
        let values: Vec<_> = row.iter().map(|cell| number(cell) as usize).collect();
        let [len, segments, partitions, block_size, word, index, first_row, map, data, blocks] =
            values[..]
        else {
            panic!("{row:?}");
        };
        let heap = Heap::new(len);
        let region = Region::format(heap.window()).unwrap();
        let geometry = Geometry {
            segments,
            partitions,
            block_size,
        };
        let tables = Registry::format(region, geometry).unwrap().tables();
        let found = heap.window().word(128).load(Relaxed) as usize;
        assert_eq!(
            (
                found,
                tables.index,
                tables.rows,
                tables.map,
                tables.data,
                tables.blocks
            ),
            (word, index, first_row, map, data, blocks)
        );
    }
}

/// Makes a small region that contains one of each structure, some of them used again.
fn region(heap: &Heap) {
    let region = Region::format(heap.window()).unwrap();
    let registry = Registry::format(region, GEOMETRY).unwrap();
    let process = Process {
        namespace_id: 0x1111_1111,
        number: 4711,
        start: 0x2222_2222,
        image: 0x3333_3333,
    };
    let one = registry.attach_partition(1, process).unwrap();
    let two = registry.attach_partition(2, Process::UNKNOWN).unwrap();
    drop(two);
    let two = registry.attach_partition(2, Process::UNKNOWN).unwrap();
    two.beat().unwrap();
    let make = |name, kind, len| {
        let request = Request::named(name, kind, len).unwrap();
        registry.open_or_create(&one, &request).unwrap()
    };
    // A row in its second use.
    let gone = make("gone", Kind::RAW, 8);
    registry.remove(&one, &gone).unwrap();
    let ring = make("commands", Kind::RING, Ring::segment_len(256));
    let state = make("state", Kind::SNAPSHOT, 640);
    let lock = make("lock", Kind::MUTEX, 128 + 8);
    make("bytes", Kind::RAW, 13);

    let mut producer = Ring::attach(ring.window())
        .unwrap()
        .claim_producer(one.incarnation())
        .unwrap();
    let consumer = Ring::attach(ring.window()).unwrap();
    let mut consumer = consumer
        .claim_consumer(two.incarnation(), OnRestart::Discard)
        .unwrap();
    for command in [&b"uname -a"[..], b"date", b"ls"] {
        producer.push(command).unwrap();
    }
    // The first record is released, the second only read, and the third is published but not
    // counted in `tail`.
    for _ in 0..2 {
        consumer.pop(&mut [0; 16]).unwrap();
    }
    core::mem::forget((producer, consumer));
    // The lowest values that these words may have here.
    for (word, value) in [
        (offset_of!(RingControl, tail), 32),
        (offset_of!(RingControl, head), 16),
    ] {
        ring.window().word(word).store(value, Relaxed);
    }

    let mut writer = Writer::attach(state.window()).unwrap();
    writer.write(b"first").unwrap();
    writer.write(b"second").unwrap();

    let mutex = Mutex::<u64>::attach(lock.window(), one.incarnation(), &NoDoorbell).unwrap();
    let mut guard = mutex.lock(&mut Spin::forever(), &mut AssumeAlive).unwrap();
    guard.window().write(0, b"whole");
    core::mem::forget(guard);
    core::mem::forget((one, two));
}

/// Returns every word that is not 0, one on each line.
fn dump(heap: &Heap) -> String {
    let mut text = String::new();
    for at in (0..LEN).step_by(4) {
        let value = heap.window().word(at).load(Relaxed);
        if value != 0 {
            writeln!(text, "{at:5} {value:08x}").unwrap();
        }
    }
    text
}

#[test]
fn the_library_makes_the_region_of_the_dump() {
    let heap = Heap::new(LEN);
    region(&heap);
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(DUMP);
    let made = dump(&heap);
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        made, stored,
        "UPDATE_VECTORS=1 writes docs/region.txt again"
    );
}

#[test]
fn the_library_reads_the_region_of_the_dump() {
    let stored = include_str!("../../docs/region.txt");
    let heap = Heap::new(LEN);
    for line in stored.lines() {
        let (at, value) = line.trim().split_once(' ').unwrap();
        let value = u32::from_str_radix(value, 16).unwrap();
        heap.window()
            .word(at.parse().unwrap())
            .store(value, Relaxed);
    }
    let registry = Registry::attach(Region::attach(heap.window()).unwrap()).unwrap();
    let names: Vec<_> = registry
        .segments()
        .map(|segment| segment.unwrap().name().to_string())
        .collect();
    assert_eq!(names.len(), 4, "{names:?}");
    let ring = registry.lookup(Id::from_name("commands")).unwrap();
    let ring = Ring::attach(ring.window()).unwrap();
    let unread: Vec<_> = ring.unread().collect();
    let seen = ring.inspect(0);
    assert_eq!((seen.head, seen.position, seen.tail), (16, 32, 32));
    let mut record = Vec::new();
    unread[0].record.read_into(&mut record);
    assert_eq!((unread.len(), &record[..]), (1, &b"ls"[..]));
    let bytes = registry.lookup(Id::from_name("bytes")).unwrap();
    let block = (bytes.offset() - registry.tables().data) / GEOMETRY.block_size;
    let owner = BlockOwner::from_word(registry.block_word(block).unwrap()).unwrap();
    assert_eq!(
        (owner.row, owner.generation_matches(bytes.generation())),
        (bytes.row(), true)
    );
}
