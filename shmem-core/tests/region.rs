//! The guarantees of a region, on memory that the kernel maps.
#![cfg(all(feature = "linux", target_os = "linux", not(loom)))]

use std::fs;
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};

use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::region::{AttachError, Mapping, Region};
use shmem_core::ring::{OnRestart, PopError, PushError, Ring};
use shmem_core::Incarnation;

const LEN: usize = 64 << 10;

#[test]
fn attaching_never_formats() {
    let memory = Mapping::memfd("test", LEN).unwrap();
    let error = Region::attach(memory.window()).err();
    assert_eq!(error, Some(AttachError::NotARegion { magic: 0 }));
    assert_eq!(memory.window().word(0).load(Relaxed), 0);
}

#[test]
fn each_format_increments_the_generation_and_zeroes_the_body() {
    let memory = Mapping::memfd("test", LEN).unwrap();
    let first = Region::format(memory.window()).unwrap();
    first.body().write(0, b"old");
    assert_eq!(Region::attach(memory.window()).unwrap().generation(), 1);
    assert!(!first.is_stale());
    let second = Region::format(memory.window()).unwrap();
    assert_eq!(second.generation(), 2);
    assert!(first.is_stale());
    let mut body = [1; 3];
    second.body().read(0, &mut body);
    assert_eq!(body, [0; 3]);
}

#[test]
fn each_invalid_header_word_has_its_own_error() {
    let memory = Mapping::memfd("test", LEN).unwrap();
    let window = memory.window();
    Region::format(window).unwrap();
    let broken = |offset, value| {
        let word = window.word(offset);
        let right = word.load(Relaxed);
        word.store(value, Relaxed);
        let error = Region::attach(window).err().unwrap();
        word.store(right, Relaxed);
        let text = error.to_string();
        assert!(!text.contains('\n') && text.len() > 20, "{text}");
        error
    };
    assert_eq!(broken(0, 7), AttachError::NotARegion { magic: 7 });
    assert_eq!(broken(4, 1), AttachError::Version { found: 1 });
    assert_eq!(broken(8, 4), AttachError::Features { unknown: 4 });
    for (low, length) in [(LEN as u32 + 8, LEN as u64 + 8), (0, 0), (1001, 1001)] {
        let mapped = LEN;
        assert_eq!(broken(16, low), AttachError::Length { length, mapped });
    }
    let length = (1_u64 << 32) + LEN as u64;
    assert_eq!(
        broken(20, 1),
        AttachError::Length {
            length,
            mapped: LEN
        }
    );
    assert!(Region::attach(window).is_ok());
    let short = window.sub(0, 128).unwrap();
    assert_eq!(
        Region::attach(short).err(),
        Some(AttachError::TooShort { len: 128 })
    );
    assert_eq!(
        Region::format(short).err(),
        Some(AttachError::TooShort { len: 128 })
    );
}

#[test]
fn two_mappings_of_a_file_or_posix_memory_share_their_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("region");
    let name = format!("/shmem-core-test-{}", std::process::id());
    let file = |len| Mapping::file(&path, len);
    let posix = |len| Mapping::posix_shm(&name, len);
    for (mine, peers) in [
        (file(Some(LEN)).unwrap(), file(None).unwrap()),
        (posix(Some(LEN)).unwrap(), posix(None).unwrap()),
    ] {
        Region::format(mine.window()).unwrap();
        mine.window().write(4096, b"hello");
        let region = Region::attach(peers.window()).unwrap();
        let mut hello = [0; 5];
        region.memory().read(4096, &mut hello);
        assert_eq!(&hello, b"hello");
    }
    Mapping::unlink_posix_shm(&name).unwrap();
    assert!(posix(None).is_err());
}

#[test]
fn a_mapping_of_a_part_of_a_file_shares_bytes_with_the_whole() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("memory");
    let whole = Mapping::file(&path, Some(4 * LEN)).unwrap();
    let part = Mapping::file_part(&path, 2 * LEN as u64, LEN).unwrap();
    assert_eq!(part.window().len(), LEN);
    whole.window().write(2 * LEN, b"same");
    let mut same = [0; 4];
    part.window().read(0, &mut same);
    assert_eq!(&same, b"same");
    for (offset, len, says) in [
        (1, LEN, "multiple of the page size"),
        (4 * LEN as u64, LEN, "the file ends at"),
        (0, 4 * LEN + 1, "the file ends at"),
        (u64::MAX, LEN, "the file ends at"),
        (0, 0, "it is empty"),
    ] {
        let error = Mapping::file_part(&path, offset, len).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(says) && !text.contains('\n'), "{text}");
    }
}

#[test]
fn a_device_mapping_starts_at_its_offset() {
    let whole = Mapping::memfd("device", 4 * LEN).unwrap();
    let fd = || whole.as_fd().try_clone_to_owned().unwrap();
    let part = Mapping::device(fd(), 2 * LEN as u64, LEN).unwrap();
    assert_eq!(part.window().len(), LEN);
    whole.window().write(2 * LEN, b"same");
    let mut same = [0; 4];
    part.map_at(0x5100_0000_0000)
        .unwrap()
        .window()
        .read(0, &mut same);
    assert_eq!(&same, b"same");
    for (offset, len) in [(1, LEN), (0, 0)] {
        let error = Mapping::device(fd(), offset, len).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("of a device") && !text.contains('\n'),
            "{text}"
        );
    }
}

#[test]
fn a_fixed_mapping_gets_its_address_and_never_replaces_another() {
    const ADDRESS: usize = 0x5000_0000_0000;
    let memory = Mapping::memfd("test", LEN).unwrap();
    let fixed = memory.map_at(ADDRESS).unwrap();
    assert_eq!(fixed.window().address().as_ptr() as usize, ADDRESS);
    fixed.window().write(0, b"same");
    let mut same = [0; 4];
    memory.window().read(0, &mut same);
    assert_eq!(&same, b"same");
    let error = memory.map_at(ADDRESS).unwrap_err().to_string();
    assert!(error.contains("0x500000000000"), "{error}");
}

#[test]
fn a_failed_mapping_is_reported_in_one_line_with_a_reason() {
    let directory = tempfile::tempdir().unwrap();
    let empty = directory.path().join("empty");
    fs::write(&empty, b"").unwrap();
    let errors = [
        Mapping::file(&directory.path().join("none"), None).unwrap_err(),
        Mapping::file(&empty, None).unwrap_err(),
        Mapping::posix_shm("/no-such-memory-here", None).unwrap_err(),
        Mapping::pci(&directory.path().join("resource2")).unwrap_err(),
        // The kernel's own memory: no /dev/mem, no permission, or STRICT_DEVMEM.
        Mapping::physical(0x10_0000, 4096).unwrap_err(),
    ];
    for error in errors {
        let text = error.to_string();
        assert!(
            text.starts_with("cannot map ") && text.contains("; "),
            "{text}"
        );
        assert!(!text.contains('\n'), "{text}");
    }
}

/// Runs in the other process: echoes every record until it receives an empty one.
fn echo(fd: i32) {
    let path = format!("/proc/self/fd/{fd}");
    let memory = Mapping::file(path.as_ref(), None).unwrap();
    let region = Region::attach(memory.window()).unwrap();
    let segment = |n: usize| {
        region
            .body()
            .sub(n * 8192, Ring::segment_len(4096))
            .unwrap()
    };
    let mut commands = Ring::attach(segment(0))
        .unwrap()
        .claim_consumer(Incarnation::first(2), OnRestart::Keep)
        .unwrap();
    let mut results = Ring::attach(segment(1))
        .unwrap()
        .claim_producer(Incarnation::first(2))
        .unwrap();
    let mut record = [0; 4096];
    loop {
        let len = match commands.pop(&mut record) {
            Ok(0) => return,
            Ok(len) => len,
            Err(PopError::Empty) => {
                std::thread::yield_now();
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        while results.push(&record[..len]) == Err(PushError::Full) {
            std::thread::yield_now();
        }
    }
}

#[test]
fn two_processes_exchange_records_over_one_memfd() {
    const VARIABLE: &str = "SHMEM_CORE_TEST_FD";
    if let Ok(fd) = std::env::var(VARIABLE) {
        return echo(fd.parse().unwrap());
    }
    let memory = Mapping::memfd("test", LEN).unwrap();
    let region = Region::format(memory.window()).unwrap();
    let segment = |n: usize| {
        region
            .body()
            .sub(n * 8192, Ring::segment_len(4096))
            .unwrap()
    };
    let mut commands = Ring::attach(segment(0))
        .unwrap()
        .claim_producer(Incarnation::first(1))
        .unwrap();
    let mut results = Ring::attach(segment(1))
        .unwrap()
        .claim_consumer(Incarnation::first(1), OnRestart::Keep)
        .unwrap();

    // A duplicate, which is inherited; the mapping's own descriptor is not.
    let inherited = rustix::io::dup(memory.as_fd()).unwrap();
    let mut peer = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "two_processes_exchange_records_over_one_memfd"])
        .env(VARIABLE, inherited.as_raw_fd().to_string())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();

    let (mut sent, mut received) = (0_u32, 0_u32);
    let record = |n: u32| vec![n as u8; n as usize % 1900 + 1];
    while received < 20_000 {
        while sent < 20_000 && commands.push(&record(sent)).is_ok() {
            sent += 1;
        }
        let mut bytes = [0; 4096];
        match results.pop(&mut bytes) {
            Ok(len) => {
                assert_eq!(bytes[..len], record(received));
                received += 1;
            }
            Err(PopError::Empty) => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
        assert!(peer.try_wait().unwrap().is_none(), "the peer ended");
    }
    commands.push(&[]).unwrap();
    assert!(peer.wait().unwrap().success());
}
