//! The guarantees of a window: copies change their own bytes only, and bounds are checked.
#![cfg(all(feature = "alloc", not(loom)))]

use proptest::prelude::*;
use shmem_core::mem::{Heap, OutOfWindow};

proptest! {
    #[test]
    fn a_copy_changes_its_bytes_and_no_others(
        offset in 0..700_usize,
        bytes in proptest::collection::vec(any::<u8>(), 0..1300),
    ) {
        const LEN: usize = 2048;
        let heap = Heap::new(LEN);
        let window = heap.window();
        let mut expected = vec![0xa5; LEN];
        window.write(0, &expected);
        window.write(offset, &bytes);
        expected[offset..offset + bytes.len()].copy_from_slice(&bytes);

        let mut all = vec![0; LEN];
        window.read(0, &mut all);
        prop_assert_eq!(&all, &expected);
        let mut part = vec![0; bytes.len()];
        window.read(offset, &mut part);
        prop_assert_eq!(&part, &bytes);
        let at = offset / 8 * 8;
        window.read_shared(at, &mut part);
        prop_assert_eq!(&part[..], &expected[at..at + part.len()]);
    }
}

#[test]
fn sub_outside_the_window_or_misaligned_is_an_error() {
    let heap = Heap::new(64);
    let window = heap.window();
    assert_eq!(window.sub(8, 56).unwrap().len(), 56);
    for (offset, len) in [(8, 57), (72, 0), (4, 8), (usize::MAX, 8), (8, usize::MAX)] {
        let error = OutOfWindow {
            offset,
            len,
            window: 64,
        };
        assert_eq!(window.sub(offset, len).err(), Some(error));
    }
}

#[test]
#[should_panic(expected = "outside a window")]
fn part_outside_the_window_panics() {
    let heap = Heap::new(64);
    assert_eq!(heap.window().part(8, 56).len(), 56);
    let _ = heap.window().part(8, 64);
}
