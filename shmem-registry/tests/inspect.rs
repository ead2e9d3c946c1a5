//! Inspection of a registry's tables.
#![cfg(not(loom))]

use proptest::prelude::*;
use shmem_core::mem::Heap;
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::{Incarnation, Region};
use shmem_registry::inspect::ChainFault;
use shmem_registry::{BlockOwner, Geometry, Id, Kind, Registry, Request};

const ME: Incarnation = Incarnation::first(1);

/// 16 rows, so that some share a bucket.
fn registry(heap: &Heap) -> Registry<'_> {
    let region = Region::format(heap.window()).unwrap();
    let geometry = Geometry {
        segments: 16,
        ..Geometry::default()
    };
    Registry::format(region, geometry).unwrap()
}

fn create(registry: &Registry<'_>, ids: impl IntoIterator<Item = u64>) {
    for id in ids {
        let request = Request::new(Id::new(id).unwrap(), Kind::RAW, 300).unwrap();
        registry.open_or_create(ME, &request).unwrap();
    }
}

#[test]
fn every_segment_is_in_the_chain_where_its_lookup_starts() {
    let heap = Heap::new(1 << 16);
    let registry = registry(&heap);
    create(&registry, 1..=16);
    let mut found = Vec::new();
    for bucket in 0..registry.tables().buckets {
        for linked in registry.chain(bucket) {
            let linked = linked.unwrap();
            assert_eq!(registry.bucket_of(linked.id), bucket);
            let segment = registry.lookup(Id::new(linked.id).unwrap()).unwrap();
            assert_eq!(segment.id().get(), linked.id);
            found.push(linked.id);
        }
    }
    found.sort_unstable();
    assert_eq!(found, Vec::from_iter(1..=16));
    assert!(registry.chain(registry.tables().buckets).next().is_none());
}

#[test]
fn a_row_describes_its_segment_and_owns_its_blocks() {
    let heap = Heap::new(1 << 16);
    let registry = registry(&heap);
    let request = Request::named("commands", Kind::RING, 300).unwrap();
    let segment = registry.open_or_create(ME, &request).unwrap();

    let used: Vec<_> = registry.rows().filter(|row| row.is_named()).collect();
    let [row] = &used[..] else {
        panic!("{} rows are used", used.len());
    };
    assert_eq!((row.owner, row.is_removed(), row.moving), (0, false, false));
    assert_eq!((row.name.as_str(), row.length), ("commands", 304));
    let shown = row.segment.unwrap();
    assert_eq!(shown.offset(), segment.offset());

    let tables = registry.tables();
    let owner = |block| BlockOwner::from_word(registry.block_word(block).unwrap());
    let owners: Vec<_> = (0..tables.blocks).map(owner).collect();
    assert_eq!(registry.block_word(tables.blocks), None);
    let first = row.first_block as usize;
    assert_eq!(tables.data + first * 128, segment.offset());
    let is_of_row =
        |owner: &BlockOwner| owner.row == row.row && owner.generation_matches(row.generation());
    let ours = owners[first..first + 3].iter().flatten();
    assert_eq!(ours.filter(|owner| is_of_row(owner)).count(), 3);
    assert_eq!(owners.iter().flatten().count(), 3);
}

#[test]
fn a_broken_chain_reports_its_fault() {
    let heap = Heap::new(1 << 16);
    let registry = registry(&heap);
    create(&registry, [1]);
    let tables = registry.tables();
    let bucket = registry.bucket_of(1);
    let word = heap.window().word(tables.index + bucket * 4);
    let link = word.load(Relaxed);
    let fault = |value| {
        word.store(value, Relaxed);
        registry.chain(bucket).find_map(Result::err)
    };
    // A link to another use of the row is the end of the chain.
    assert_eq!(fault(link + (1 << 17)), None);
    assert_eq!(registry.chain(bucket).count(), 0);
    assert!(matches!(fault(999), Some(ChainFault::Corrupt(_))));
    assert!(registry.chain(bucket).count() <= 2, "an error ends it");
    assert_eq!(fault(link), None);
}

proptest! {
    #[test]
    fn inspecting_any_bytes_neither_panics_nor_leaves_the_region(
        words in prop::collection::vec((64_usize..8192, any::<u32>(), 0_u32..40), 0..60),
    ) {
        let heap = Heap::new(1 << 15);
        let registry = registry(&heap);
        create(&registry, 1..=8);
        for (at, value, small) in words {
            let value = if value % 2 == 0 { value } else { small };
            heap.window().word(at * 4 % (1 << 15)).store(value, Relaxed);
        }
        for row in registry.rows() {
            if let Ok(segment) = row.segment {
                prop_assert!(segment.offset() + segment.window().len() <= 1 << 15);
            }
        }
        for bucket in 0..registry.tables().buckets {
            prop_assert!(registry.chain(bucket).count() <= 17);
        }
        prop_assert!(registry.block_word(registry.tables().blocks - 1).is_some());
    }
}
