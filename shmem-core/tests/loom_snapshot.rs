//! Models of the snapshot: a reader never returns a mixture of two values.
#![cfg(loom)]

use loom::thread;
use shmem_core::mem::Heap;
use shmem_core::snapshot::{segment_len, ReadError, Reader, Writer};

fn check(writes: u8, reads: usize) {
    loom::model(move || {
        let window = Heap::leaked(segment_len(8)).window();
        let mut writer = Writer::attach(window).unwrap();
        let reader = Reader::attach(window).unwrap();
        let peer = thread::spawn(move || {
            for n in 1..=writes {
                writer.write(&[n; 8]).unwrap();
            }
        });
        for _ in 0..reads {
            let mut value = [0; 8];
            match reader.read(&mut value) {
                Ok(len) => {
                    assert_eq!(len, 8);
                    assert!(value[0] != 0 && value == [value[0]; 8], "{value:?}");
                }
                Err(ReadError::Empty | ReadError::Busy) => {}
                Err(error) => panic!("{error}"),
            }
        }
        peer.join().unwrap();
    });
}

#[test] // Kills: Release in `write`, first Acquire in `read`.
fn the_first_value_is_whole_when_it_is_seen() {
    check(1, 1);
}

#[test] // Kills: fence(Release) in `write`, fence(Acquire) in `read`.
fn a_value_that_is_being_replaced_is_not_returned() {
    check(3, 1);
}
