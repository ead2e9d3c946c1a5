//! A registry for the targets, and the words in it that a peer stores to.

use std::sync::atomic::Ordering::Relaxed;

use arbitrary::Arbitrary;
use shmem_core::doorbell::NoDoorbell;
use shmem_core::mem::Heap;
use shmem_core::ring::{OnRestart, Ring};
use shmem_core::snapshot::{self, Writer};
use shmem_core::{Incarnation, Region, Window};
use shmem_registry::inspect::Tables;
use shmem_registry::layout::{REGISTRY, Row};
use shmem_registry::{Geometry, Kind, Process, Registry, Request};
use shmem_sync::{AssumeAlive, BakeryMutex, Barrier, Mutex, RwLock, Semaphore};

use crate::Word;

/// Bytes of the region.
pub const LEN: usize = 16 << 10;
/// Partition slots of the registry.
pub const PARTITIONS: usize = 4;

/// Formats a region with an empty registry of 2, 4, 8, 16 or 32 rows.
pub fn registry(heap: &Heap, segments: u8) -> Registry<'_> {
    let region = Region::format(heap.window()).expect("memory of a region's length");
    let geometry = Geometry {
        segments: 2 << (segments % 5),
        partitions: PARTITIONS,
        block_size: 128,
    };
    Registry::format(region, geometry).expect("room for the tables")
}

/// A word of a region with a registry.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Target {
    /// Any word after the headers.
    Any(u16),
    /// A hint of the registry.
    Hint(bool),
    /// A word of a partition's slot.
    Slot { partition: u8, word: u8 },
    /// The head of a chain.
    Bucket(u8),
    /// A word of a row.
    Row { row: u8, word: u8 },
    /// A word of the map.
    Map(u8),
    /// One of the first words of a block.
    Block { block: u8, word: u8 },
}

/// A word that a peer stores at a target.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct TableStore {
    /// The word in memory.
    pub target: Target,
    /// The value.
    pub word: Word,
}

impl TableStore {
    /// Stores the word in a region whose registry has these `tables`.
    pub fn apply(self, region: Window<'_>, tables: &Tables) {
        let at = self.target.offset(region.len(), tables);
        region.word(at).store(self.word.value(), Relaxed);
    }
}

impl Target {
    fn offset(self, len: usize, tables: &Tables) -> usize {
        let row = size_of::<Row>();
        match self {
            Self::Any(at) => {
                let room = (len - tables.partitions) / 4;
                tables.partitions + usize::from(at) % room * 4
            }
            Self::Hint(row) => REGISTRY + 4 + usize::from(row) * 4,
            Self::Slot { partition, word } => {
                tables.partitions + usize::from(partition) % PARTITIONS * 128 + words(word, 5)
            }
            Self::Bucket(bucket) => tables.index + usize::from(bucket) % tables.buckets * 4,
            Self::Row { row: number, word } => {
                let rows = (tables.map - tables.rows) / row;
                tables.rows + usize::from(number) % rows * row + words(word, row / 4)
            }
            Self::Map(block) => tables.map + usize::from(block) % tables.blocks * 4,
            Self::Block { block, word } => {
                tables.data + usize::from(block) % tables.blocks * 128 + words(word, 32)
            }
        }
    }
}

fn words(word: u8, of: usize) -> usize {
    usize::from(word) % of * 4
}

/// Fills a registry with segments of each kind that are in use, up to the number of its rows.
pub fn fill(registry: Registry<'_>) {
    let attach = |partition, process| {
        let attachment = registry.attach_partition(partition, process);
        let attachment = attachment.expect("a free slot");
        let incarnation = attachment.incarnation();
        std::mem::forget(attachment);
        incarnation
    };
    let (one, two) = (attach(1, Process::this()), attach(2, Process::UNKNOWN));
    drop(registry.attach_partition(3, Process::UNKNOWN));
    let segment = |name: &str, kind, len| {
        let request = Request::named(name, kind, len).expect("a request");
        let segment = registry.open_or_create(one, &request);
        segment.ok().map(|segment| segment.window())
    };
    if let Some(window) = segment("ring", Kind::RING, Ring::segment_len(256)) {
        fill_ring(Ring::attach(window).expect("a ring's length"), one, two);
    }
    if let Some(window) = segment("snapshot", Kind::SNAPSHOT, snapshot::segment_len(64)) {
        let mut writer = Writer::attach(window).expect("a snapshot's length");
        writer.write(b"the latest").expect("room for it");
    }
    fill_locks(segment, one, two);
    // A segment without a known kind, and a removed one.
    segment("raw", Kind::RAW, 100);
    let request = Request::named("gone", Kind::RAW, 100).expect("a request");
    if let Ok(segment) = registry.open_or_create(two, &request) {
        registry.remove(two, &segment).expect("it exists");
    }
}

fn fill_ring(ring: Ring<'_>, one: Incarnation, two: Incarnation) {
    let mut producer = ring.claim_producer(one).expect("a new ring");
    let mut consumer = ring
        .claim_consumer(two, OnRestart::Keep)
        .expect("a new ring");
    for len in [100, 60, 40, 0, 80] {
        producer.push(&vec![b'x'; len]).expect("room for it");
        if len >= 60 {
            consumer.pop(&mut [0; 100]).expect("a record");
        }
    }
    std::mem::forget((producer, consumer));
}

fn fill_locks<'m>(
    segment: impl Fn(&str, Kind, usize) -> Option<Window<'m>>,
    one: Incarnation,
    two: Incarnation,
) {
    if let Some(window) = segment("mutex", Kind::MUTEX, Mutex::<u64>::SEGMENT_LEN) {
        let mutex = Mutex::<u64>::attach(window, one, &NoDoorbell).expect("a mutex's length");
        std::mem::forget(mutex.try_lock(&mut AssumeAlive));
    }
    if let Some(window) = segment("bakery", Kind::BAKERY, BakeryMutex::<u64>::SEGMENT_LEN) {
        // SAFETY: the only handle of its incarnation.
        let mut mutex =
            unsafe { BakeryMutex::<u64>::attach(window, two, 64) }.expect("a mutex's length");
        std::mem::forget(mutex.try_lock(&mut AssumeAlive));
    }
    if let Some(window) = segment("semaphore", Kind::SEMAPHORE, Semaphore::segment_len(6)) {
        let semaphore = Semaphore::attach(window, one, &NoDoorbell).expect("a semaphore's length");
        semaphore.add(3).expect("room for three");
        std::mem::forget(semaphore.try_acquire(&mut AssumeAlive));
    }
    if let Some(window) = segment("rwlock", Kind::RWLOCK, RwLock::<u64>::SEGMENT_LEN) {
        let lock = RwLock::<u64>::attach(window, two, &NoDoorbell).expect("a lock's length");
        std::mem::forget(lock.try_read(&mut AssumeAlive));
    }
    if let Some(window) = segment("barrier", Kind::BARRIER, Barrier::segment_len(4)) {
        // SAFETY: the only handle of its incarnation.
        let mut barrier =
            unsafe { Barrier::attach(window, one, 2, &NoDoorbell) }.expect("a barrier's length");
        let _ = barrier.try_wait(&mut AssumeAlive);
    }
}
