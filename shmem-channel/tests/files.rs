//! Regions in files: waiting for one, and creating one.
#![cfg(feature = "linux")]

use std::thread;
use std::time::Duration;
use std::{fs, io};

use shmem_channel::{Error, Session, FOREVER};
use shmem_core::region::AttachError;
use shmem_registry::Kind;

const LEN: usize = 1 << 20;

#[test]
fn a_partition_that_joins_early_waits_until_the_region_is_created() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("region");
    thread::scope(|scope| {
        let early = scope.spawn(|| Session::join_file_within(&path, 2, FOREVER).map(drop));
        fs::write(&path, []).unwrap(); // The file exists before its region.
        let _session = Session::create_file(&path, LEN, 1).unwrap();
        assert_eq!(early.join().unwrap(), Ok(()));
    });
}

#[test]
fn a_wait_for_a_region_that_times_out_returns_why_the_region_cannot_be_joined() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("region");
    let join = |timeout| Session::join_file_within(&path, 2, timeout).map(drop);
    let Err(Error::Memory(missing)) = join(Duration::ZERO) else {
        panic!("there is no file");
    };
    let kind = io::Error::from_raw_os_error(missing.raw_os_error()).kind();
    assert_eq!(kind, io::ErrorKind::NotFound);
    fs::write(&path, [0; 4096]).unwrap();
    let not_created = Err(Error::Region(AttachError::NotARegion { magic: 0 }));
    assert_eq!(join(Duration::ZERO), not_created);
    fs::write(&path, [1; 4096]).unwrap();
    let magic = 0x0101_0101;
    let other = Err(Error::Region(AttachError::NotARegion { magic }));
    assert_eq!(join(FOREVER), other, "without waiting");
}

#[test]
fn open_file_joins_an_existing_region_and_keeps_its_segments() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("region");
    let first = Session::open_file(&path, LEN, 1).unwrap();
    first.segment("kept", Kind::RAW, 64).unwrap();
    let taken = Session::open_file(&path, LEN, 1).map(drop);
    assert!(
        matches!(taken, Err(Error::Join(_))),
        "the first session is open"
    );
    drop(first);
    let again = Session::open_file(&path, LEN, 1).unwrap();
    let other = again.segment("kept", Kind::RAW, 128).map(drop);
    assert!(matches!(other, Err(Error::Open { .. })), "it has 64 bytes");
}

#[test]
fn open_file_does_not_overwrite_a_file_with_other_content() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("letters");
    fs::write(&path, vec![b'x'; LEN]).unwrap();
    let opened = Session::open_file(&path, LEN, 1).map(drop);
    assert!(matches!(opened, Err(Error::Region(_))));
    assert_eq!(fs::read(&path).unwrap(), vec![b'x'; LEN]);
}
