//! What C's structs hold, held by Rust: Miri says whether the pointers in them are good.
//!
//! `cargo +nightly miri test -p shmr --no-default-features --test pointers`
// A program in C is one promise of its own, too.
#![allow(clippy::multiple_unsafe_ops_per_block)]

use std::mem::MaybeUninit;

use shmr::shmr_status::SHMR_OK;
use shmr::*;

#[repr(C, align(128))]
struct Memory([u8; 1024]);

#[test]
fn a_copy_of_a_segment_is_good_for_what_the_segment_is() {
    let mut memory = Box::new(Memory([0; 1024]));
    let mut segment = MaybeUninit::uninit();
    let (mut writer, mut reader) = (MaybeUninit::zeroed(), MaybeUninit::zeroed());
    // SAFETY: memory for the segment and room for what is opened, all of it used here alone.
    unsafe {
        let base = memory.0.as_mut_ptr().cast();
        let made = shmr_segment_at(segment.as_mut_ptr(), base, shmr_snapshot_len(64));
        assert_eq!(made, SHMR_OK);
        let copy: shmr_segment = segment.assume_init();
        let opened = shmr_snapshot_writer_open(writer.as_mut_ptr(), &copy);
        assert_eq!(opened, SHMR_OK);
        let written = shmr_snapshot_write(writer.as_mut_ptr(), b"value".as_ptr().cast(), 5);
        assert_eq!(written, SHMR_OK);
        let opened = shmr_snapshot_reader_open(reader.as_mut_ptr(), &copy);
        assert_eq!(opened, SHMR_OK);
        // A call that takes a `const` handle makes nothing exclusive of it.
        let reader: &shmr_snapshot_reader = reader.assume_init_ref();
        assert_eq!(shmr_snapshot_sequence(reader), 1);
        assert_eq!(reader.error.status, SHMR_OK);
    }
}
