//! Checks docs/layout.md against the code: every field, its offset, its width.
#![cfg(not(loom))]

use memoffset::{offset_of, span_of};
use shmem_core::layout::{
    Bell, CallControl, RegionHeader, RingControl, SnapshotControl, TypedRingControl, MAGIC, VERSION,
};
use shmem_registry::layout::{PartitionSlot, RegistryHeader, Row, PARTITIONS, REGISTRY};
use shmem_sync::layout::{
    BakeryControl, BarrierControl, LitmusControl, MutexControl, RwLockControl, SemaphoreControl,
};

const DOCUMENT: &str = include_str!("../../docs/layout.md");

type Field = (String, usize, usize);

/// Returns the rows `| offset | width | `field` | ...` under the heading of `structure`.
fn documented(structure: &str) -> Vec<Field> {
    let heading = format!("### {structure}");
    let mut lines = DOCUMENT
        .lines()
        .skip_while(|line| !line.starts_with(&heading));
    assert!(lines.next().is_some(), "{structure} is not in the document");
    lines
        .take_while(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let cells: Vec<_> = line.split('|').map(str::trim).collect();
            let [_, offset, width, field, ..] = cells[..] else {
                return None;
            };
            let name = field.strip_prefix('`')?.strip_suffix('`')?;
            Some((name.to_owned(), offset.parse().ok()?, width.parse().ok()?))
        })
        .collect()
}

macro_rules! coded {
    ($structure:ty: $($field:ident),*) => {
        vec![$((
            stringify!($field).to_owned(),
            offset_of!($structure, $field),
            span_of!($structure, $field).len(),
        )),*]
    };
}

#[test]
fn the_document_has_the_offset_and_width_of_every_field() {
    let structures: [(&str, Vec<Field>, usize); 15] = [
        (
            "RegionHeader",
            coded!(RegionHeader: magic, version, features, generation, length_low, length_high, reserved),
            128,
        ),
        (
            "RegistryHeader",
            coded!(RegistryHeader: geometry, block_hint, row_hint, reserved),
            128,
        ),
        (
            "PartitionSlot",
            coded!(PartitionSlot: incarnation, heartbeat, process_namespace, process, process_start, process_image, reserved),
            128,
        ),
        (
            "Row",
            coded!(Row: owner, state, next, kind, id_low, id_high, first_block, length, name),
            64,
        ),
        (
            "RingControl",
            coded!(RingControl: tail, producer, consumer_epoch, producer_reserved, head, consumer, producer_epoch, discarded, consumer_reserved, position, position_reserved, records, space),
            512,
        ),
        (
            "TypedRingControl",
            coded!(TypedRingControl: tails, producer_starts, addressed, producer, producer_record_size, producer_reserved, heads, consumer, consumer_record_size, consumer_reserved, positions, known_producers, accepted, discarded, consumer_starts, starts_reserved, records, space),
            640,
        ),
        ("Bell", coded!(Bell: armed, ring_count, reserved), 128),
        (
            "SnapshotControl",
            coded!(SnapshotControl: sequence, reserved),
            128,
        ),
        (
            "CallControl",
            coded!(CallControl: asked, command_len, command, answered, answer_len, answer, reserved, started, started_reserved, received, received_reserved),
            256,
        ),
        (
            "MutexControl",
            coded!(MutexControl: owner, health, protects, reserved),
            128,
        ),
        (
            "RwLockControl",
            coded!(RwLockControl: writer, health, writing, protects, reserved, readers),
            640,
        ),
        (
            "SemaphoreControl",
            coded!(SemaphoreControl: ring_count, reserved),
            128,
        ),
        (
            "BakeryControl",
            coded!(BakeryControl: holder, health, colour, reserved, entries, protects),
            896,
        ),
        (
            "BarrierControl",
            coded!(BarrierControl: phase, ring_count, reserved),
            128,
        ),
        (
            "LitmusControl",
            coded!(LitmusControl: asked, asker_step, rounds, lost, violations, enough, asker_reserved, answerer_step, answerer_reserved, count, count_reserved, asker_flag, asker_flag_reserved, answerer_flag, answerer_flag_reserved, asker_saw, answerer_saw),
            2688,
        ),
    ];
    for (name, fields, size) in structures {
        assert_eq!(documented(name), fields, "{name}");
        let (mut end, total) = (0, fields.iter().map(|field| field.2).sum::<usize>());
        for (field, offset, width) in fields {
            assert_eq!(offset, end, "there is a gap before {name}.{field}");
            end = offset + width;
        }
        assert_eq!((end, total), (size, size), "{name}");
    }
}

#[test]
fn the_document_has_the_version_the_magic_and_the_table_offsets() {
    assert!(DOCUMENT.starts_with(&format!("# Memory layout, version {VERSION}\n")));
    assert!(DOCUMENT.contains(&format!("`{MAGIC:#010x}`")));
    assert!(DOCUMENT.contains(&format!("### RegistryHeader (at {REGISTRY})")));
    assert!(DOCUMENT.contains(&format!("| partition slots | {PARTITIONS} |")));
}

/// A peer written from the document alone: it shares no code with the library.
mod peer {
    use shmem_core::primitive::Ordering::{Acquire, Release};
    use shmem_core::Window;

    fn load(memory: &Window<'_>, at: usize) -> usize {
        memory.word(at).load(Acquire) as usize
    }

    /// Returns offset and length of the segment that `name` names.
    pub(super) fn lookup(memory: &Window<'_>, name: &str) -> Option<(usize, usize)> {
        let mut id = 0xcbf2_9ce4_8422_2325_u64;
        for byte in name.bytes() {
            id = (id ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
        let geometry = load(memory, 128);
        let (segments, block) = (1 << (geometry >> 16 & 0x7fff), 1 << (geometry >> 8 & 0xff));
        let index = 256 + 128 * (geometry & 0xff);
        let (buckets, rows) = (2 * segments, index + 8 * segments);
        let map = rows + 64 * segments;
        let length = load(memory, 16);
        let mut blocks = (length - map) / (block + 4);
        let data = |blocks: usize| (map + 4 * blocks).div_ceil(block) * block;
        while data(blocks) + blocks * block > length {
            blocks -= 1;
        }
        let hash = id.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let bucket = (hash >> (64 - buckets.trailing_zeros())) as usize;
        let mut link = load(memory, index + 4 * bucket);
        while link & 0x1_ffff != 0 {
            let row = rows + 64 * ((link & 0x1_ffff) - 1);
            let found = (load(memory, row + 20) as u64) << 32 | load(memory, row + 16) as u64;
            let next = load(memory, row + 8);
            let generation = load(memory, row + 4) >> 1;
            assert_eq!(
                generation & 0x3fff,
                link >> 17 & 0x3fff,
                "no other partition changes the table"
            );
            if found == id && next >> 31 == 0 {
                let offset = data(blocks) + load(memory, row + 24) * block;
                return Some((offset, load(memory, row + 28)));
            }
            link = next;
        }
        None
    }

    /// Returns the position after the last published record.
    fn resume(memory: &Window<'_>, segment: (usize, usize)) -> usize {
        let capacity = segment.1 - 512;
        let mut at = load(memory, segment.0).max(load(memory, segment.0 + 128));
        loop {
            let header = load(memory, segment.0 + 512 + at % capacity);
            if header == 0 {
                return at;
            }
            at += 8 + (header >> 2).div_ceil(8) * 8;
        }
    }

    /// Pushes one record into the ring at `segment`. The caller knows that it fits.
    pub(super) fn push(memory: &Window<'_>, segment: (usize, usize), payload: &[u8]) {
        let capacity = segment.1 - 512;
        let data = segment.0 + 512;
        let tail = resume(memory, segment);
        let stride = 8 + payload.len().div_ceil(8) * 8;
        let left = capacity - tail % capacity;
        let padded = stride > left;
        let at = if padded { tail + left } else { tail };
        let epochs = load(memory, segment.0 + 136) | load(memory, segment.0 + 8) << 16;
        memory
            .word(data + at % capacity + 4)
            .store(epochs as u32, Release);
        memory.write(data + at % capacity + 8, payload);
        let end = at + stride;
        memory.word(data + end % capacity).store(0, Release);
        let header = (payload.len() << 2 | 1) as u32;
        memory.word(data + at % capacity).store(header, Release);
        if padded {
            let padding = ((left - 8) << 2 | 3) as u32;
            memory.word(data + tail % capacity).store(padding, Release);
        }
        memory.word(segment.0).store(end as u32, Release);
    }

    /// Pops one record, if the ring is not empty.
    pub(super) fn pop(memory: &Window<'_>, segment: (usize, usize)) -> Option<Vec<u8>> {
        let capacity = segment.1 - 512;
        let data = segment.0 + 512;
        let mut head = load(memory, segment.0 + 128);
        let mut header = load(memory, data + head % capacity);
        if header & 2 != 0 {
            head += 8 + (header >> 2);
            header = load(memory, data + head % capacity);
        }
        if header & 1 == 0 {
            return None;
        }
        let mut payload = vec![0; header >> 2];
        memory.read(data + head % capacity + 8, &mut payload);
        let end = head + 8 + payload.len().div_ceil(8) * 8;
        memory.word(segment.0 + 128).store(end as u32, Release);
        Some(payload)
    }

    /// Returns the latest of the four stamps at `at`: epoch and position.
    fn latest(memory: &Window<'_>, at: usize) -> (usize, usize) {
        let stamps = (0..4).map(|n| load(memory, at + 4 * n));
        let stamp = stamps.max_by_key(|stamp| stamp >> 16).unwrap_or(0);
        (stamp >> 16, stamp & 0xffff)
    }

    /// Pushes one record of 12 bytes into the typed ring of 8 slots at `segment`, as its producer
    /// with epoch 1. The caller knows that it fits.
    pub(super) fn typed_push(memory: &Window<'_>, segment: usize, record: &[u8; 12]) {
        let (_, tail) = latest(memory, segment);
        memory.write(segment + 640 + tail % 8 * 16, record);
        memory.write(segment + 640 + tail % 8 * 16 + 12, &[0; 4]);
        let tail = (tail as u32 + 1) & 0xffff;
        memory.word(segment + 4).store(1 << 16 | tail, Release);
    }

    /// Pops one record from it, as its consumer with epoch 1, if it is not empty.
    pub(super) fn typed_pop(memory: &Window<'_>, segment: usize) -> Option<[u8; 12]> {
        let (_, tail) = latest(memory, segment);
        let (_, position) = latest(memory, segment + 192);
        if position == tail {
            return None;
        }
        let mut record = [0; 12];
        memory.read(segment + 640 + position % 8 * 16, &mut record);
        let stamp = 1 << 16 | (position as u32 + 1) & 0xffff;
        memory.word(segment + 196).store(stamp, Release);
        memory.word(segment + 132).store(stamp, Release);
        Some(record)
    }

    /// Claims an end of a new typed ring of records of 12 bytes for the incarnation `incarnation`.
    /// The claim is at `claim` in the segment; the first epoch is stored at each of `stamps`.
    pub(super) fn typed_claim(
        memory: &Window<'_>,
        claim: usize,
        incarnation: u32,
        stamps: &[usize],
    ) {
        memory.word(claim).store(incarnation, Release);
        memory.word(claim + 4).store(12, Release);
        for stamps in stamps {
            memory.word(stamps + 4).store(1 << 16, Release);
        }
    }
}

#[test]
fn a_peer_written_from_the_document_exchanges_records_by_a_typed_ring() {
    use shmem_core::mem::Heap;
    use shmem_core::typed_ring::{OnRestart, TypedRing};
    use shmem_core::Incarnation;

    type Record = [u32; 3];
    let bytes = |record: &Record| {
        let mut bytes = [0; 12];
        for (to, from) in bytes.chunks_mut(4).zip(record) {
            to.copy_from_slice(&from.to_ne_bytes());
        }
        bytes
    };
    for ours_produces in [true, false] {
        let heap = Heap::new(TypedRing::<Record>::segment_len(8));
        let memory = heap.window();
        let ring = TypedRing::<Record>::attach(memory).unwrap();
        let (theirs, ours) = (Incarnation::first(1), Incarnation::first(2));
        if ours_produces {
            peer::typed_claim(&memory, 144, theirs.word(), &[256, 192, 128]);
            let mut producer = ring.claim_producer(ours).unwrap();
            assert_eq!(ring.consumer_owner(), Some(theirs));
            for n in 0..100_000 {
                producer.push(&[n, !n, 7]).unwrap();
                assert_eq!(peer::typed_pop(&memory, 0), Some(bytes(&[n, !n, 7])));
                assert_eq!(peer::typed_pop(&memory, 0), None);
            }
        } else {
            peer::typed_claim(&memory, 48, theirs.word(), &[16, 0]);
            let mut consumer = ring.claim_consumer(ours, OnRestart::Keep).unwrap();
            for n in 0..100_000 {
                peer::typed_push(&memory, 0, &bytes(&[n, !n, 7]));
                assert_eq!(consumer.pop(), Ok([n, !n, 7]));
                assert!(consumer.is_empty());
            }
        }
    }
}

#[test]
fn a_peer_written_from_the_document_exchanges_records_by_a_ring() {
    use shmem_core::mem::Heap;
    use shmem_core::ring::{OnRestart, Ring};
    use shmem_core::{Incarnation, Region};
    use shmem_registry::{Geometry, Kind, Registry, Request};

    let heap = Heap::new(100_000);
    let region = Region::format(heap.window()).unwrap();
    let registry = Registry::format(region, Geometry::default()).unwrap();
    let make = |name: &str, len| {
        let request = Request::named(name, Kind::RING, len).unwrap();
        registry
            .open_or_create(Incarnation::first(1), &request)
            .unwrap()
    };
    for n in 0..40 {
        make(&format!("other {n}"), 100 + n);
    }
    let ours = make("results", Ring::segment_len(256));
    let memory = heap.window();
    assert_eq!(peer::lookup(&memory, "nothing"), None);
    let theirs = peer::lookup(&memory, "results").unwrap();
    assert_eq!(theirs, (ours.offset(), ours.len()));

    let ring = Ring::attach(ours.window()).unwrap();
    let mut producer = ring.claim_producer(Incarnation::first(1)).unwrap();
    for n in 0..100_u8 {
        let record = vec![n; usize::from(n) % 60];
        producer.push(&record).unwrap();
        assert_eq!(peer::pop(&memory, theirs), Some(record));
        assert_eq!(peer::pop(&memory, theirs), None);
    }
    drop(producer);
    let mut consumer = ring
        .claim_consumer(Incarnation::first(1), OnRestart::Keep)
        .unwrap();
    for n in 0..100_u8 {
        let record = vec![n; usize::from(n) % 60];
        peer::push(&memory, theirs, &record);
        let mut popped = [0; 64];
        let len = consumer.pop(&mut popped).unwrap();
        assert_eq!(popped[..len], record);
    }
}
