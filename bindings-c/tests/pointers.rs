//! The pointers in C structs, used from Rust: Miri checks that they are valid.
//!
//! `MIRIFLAGS=-Zmiri-disable-weak-memory-emulation cargo +nightly miri test -p shmr
//! --no-default-features --features channel --test pointers --target s390x-unknown-linux-gnu`:
//! Miri does not support inline assembly, and its weak-memory emulation needs one access width per
//! address.
// Like a C program, each test fulfils the callers' duties as a whole.
#![allow(clippy::multiple_unsafe_ops_per_block)]

use std::mem::MaybeUninit;

use shmr::shmr_status::SHMR_OK;
use shmr::*;

#[repr(C, align(128))]
struct Memory<const LEN: usize>([u8; LEN]);

#[test]
fn a_copy_of_a_segment_has_valid_pointers() {
    let mut memory = Box::new(Memory([0; 1024]));
    let mut segment = MaybeUninit::uninit();
    let (mut writer, mut reader) = (MaybeUninit::zeroed(), MaybeUninit::zeroed());
    // SAFETY: memory for the segment and room for what is opened, all of it used here alone.
    unsafe {
        let base = memory.0.as_mut_ptr().cast();
        let made = shmr_segment_from_memory(segment.as_mut_ptr(), base, shmr_snapshot_len(64));
        assert_eq!(made, SHMR_OK);
        let copy: shmr_segment = segment.assume_init();
        let opened = shmr_snapshot_writer_open(writer.as_mut_ptr(), &copy);
        assert_eq!(opened, SHMR_OK);
        let written = shmr_snapshot_write(writer.as_mut_ptr(), b"value".as_ptr().cast(), 5);
        assert_eq!(written, SHMR_OK);
        let opened = shmr_snapshot_reader_open(reader.as_mut_ptr(), &copy);
        assert_eq!(opened, SHMR_OK);
        // A call that takes a `const` handle forms no exclusive reference to it.
        let reader: &shmr_snapshot_reader = reader.assume_init_ref();
        assert_eq!(shmr_snapshot_sequence(reader), 1);
        assert_eq!(reader.error.status, SHMR_OK);
    }
}

unsafe extern "C" fn now(context: *mut std::ffi::c_void) -> u64 {
    let time = context.cast::<u64>();
    // SAFETY: the test's clock, which it alone uses.
    unsafe {
        *time += 1;
        *time
    }
}

#[test]
fn calls_on_a_session_are_valid_while_channels_point_to_it() {
    const LEN: usize = 16 << 10;

    let mut memory = Box::new(Memory([0; LEN]));
    let mut time = Box::new(0_u64);
    // SAFETY: all zeroes is no function, no pointer and no process.
    let mut platform: shmr_platform = unsafe { MaybeUninit::zeroed().assume_init() };
    platform.now = Some(now);
    platform.context = std::ptr::addr_of_mut!(*time).cast();
    let geometry = shmr_geometry {
        segments: 4,
        partitions: 2,
        block_size: 128,
    };
    let mut options = shmr_session_options {
        partition: 1,
        without_rmw: false,
        take_over: 0,
        wait_for_earlier: 0,
        presume_gone_after: 0,
        geometry: &geometry,
    };
    let capacities = shmr_channel_options {
        command_capacity: 256,
        result_capacity: 256,
    };
    let base = memory.0.as_mut_ptr().cast();
    let mut first = Box::new(MaybeUninit::<shmr_session>::zeroed());
    let mut second = Box::new(MaybeUninit::<shmr_session>::zeroed());
    let (first, second) = (first.as_mut_ptr(), second.as_mut_ptr());
    let mut server = Box::new(MaybeUninit::<shmr_server>::zeroed());
    let mut client = Box::new(MaybeUninit::<shmr_client>::zeroed());
    let (server, client) = (server.as_mut_ptr(), client.as_mut_ptr());
    let (mut call, mut received) = (
        shmr_call { number: 0, peer: 0 },
        shmr_call { number: 0, peer: 0 },
    );
    let (mut text, mut len) = ([0_u8; 8], 0);
    let name = b"calls\0".as_ptr().cast();
    // SAFETY: handles and memory that stay in place and are used here alone.
    unsafe {
        let created = shmr_session_create(first, base, LEN, &options, &platform);
        assert_eq!(created, SHMR_OK);
        options.partition = 2;
        let joined = shmr_session_join(second, base, LEN, &options, &platform);
        assert_eq!(joined, SHMR_OK);
        assert_eq!(shmr_server_open(server, first, name, &capacities), SHMR_OK);
        assert_eq!(shmr_client_open(client, second, name, &capacities), SHMR_OK);
        let asked = shmr_client_start_call(client, b"ask".as_ptr().cast(), 3, &mut call, 0);
        assert_eq!(asked, SHMR_OK);
        assert_eq!(shmr_session_beat(first), SHMR_OK);
        assert_eq!(shmr_session_leave(first), shmr_status::SHMR_OPEN);
        let buffer = text.as_mut_ptr().cast();
        let got = shmr_server_recv(server, buffer, 8, &mut len, &mut received, 0);
        assert_eq!((got, len), (SHMR_OK, 3));
        let answered = shmr_server_answer(server, &mut received, buffer, len, 0);
        assert_eq!(answered, SHMR_OK);
        assert_eq!(shmr_session_check(second), SHMR_OK);
        let finished = shmr_client_finish_call(client, &mut call, buffer, 8, &mut len, 0);
        assert_eq!((finished, len), (SHMR_OK, 3));
        assert_eq!(shmr_client_close(client), SHMR_OK);
        assert_eq!(shmr_server_close(server), SHMR_OK);
        assert_eq!(shmr_session_leave(first), SHMR_OK);
        assert_eq!(shmr_session_leave(second), SHMR_OK);
    }
}
