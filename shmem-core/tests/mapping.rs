//! The guarantees of a mapping: its blocks, its length, the check of its file, and forked
//! children.
#![cfg(all(feature = "linux", target_os = "linux", not(loom)))]

use std::fs::{self, File};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::sync::{Barrier, Mutex};
use std::thread;

use rustix::fs::{flock, fstat, statvfs, FlockOperation};
use rustix::mm::{mmap_anonymous, MapFlags, ProtFlags};
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::region::{Displaced, Mapping};
use shmem_core::ring::{OnRestart, Ring};
use shmem_core::Incarnation;

const LEN: usize = 64 << 10;

fn shm_name() -> String {
    format!("/shmem-core-mapping-{}", std::process::id())
}

#[test]
fn memory_with_a_set_length_has_all_its_blocks() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("region");
    let name = shm_name() + "-blocks";
    let mappings = [
        Mapping::memfd("test", LEN).unwrap(),
        Mapping::file(&path, Some(LEN)).unwrap(),
        Mapping::posix_shm(&name, Some(LEN)).unwrap(),
    ];
    Mapping::unlink_posix_shm(&name).unwrap();
    let reserved = |fd| fstat(fd).unwrap().st_blocks as usize * 512;
    for mapping in &mappings {
        assert!(reserved(mapping.as_fd()) >= LEN);
    }
    // A file that another program created without blocks.
    let path = directory.path().join("sparse");
    File::create(&path).unwrap().set_len(LEN as u64).unwrap();
    assert!(reserved(Mapping::file(&path, Some(LEN)).unwrap().as_fd()) >= LEN);
}

#[test]
fn a_file_that_does_not_fit_is_an_error_and_stays_empty() {
    let name = shm_name() + "-room";
    let path = format!("/dev/shm{name}");
    let all = statvfs("/dev/shm").unwrap();
    let len = (all.f_blocks + 1) * all.f_frsize;
    let makes: [&dyn Fn() -> _; 2] = [&|| Mapping::posix_shm(&name, Some(len as usize)), &|| {
        Mapping::file(path.as_ref(), Some(len as usize))
    }];
    for make in makes {
        let error = make().err().unwrap();
        assert_eq!(
            error.raw_os_error(),
            rustix::io::Errno::NOSPC.raw_os_error()
        );
        let advice = "; use a smaller length";
        assert!(error.to_string().contains(advice), "{error}");
        assert_eq!(fs::metadata(&path).unwrap().len(), 0);
    }
    Mapping::posix_shm(&name, Some(LEN)).unwrap();
    Mapping::unlink_posix_shm(&name).unwrap();
}

#[test]
fn one_of_two_creators_with_different_lengths_gets_an_error_with_both() {
    let directory = tempfile::tempdir().unwrap();
    for round in 0..200 {
        let path = directory.path().join(round.to_string());
        let start = Barrier::new(2);
        let make = |len| {
            start.wait();
            Mapping::file(&path, Some(len)).map(|mapping| mapping.window().len())
        };
        let made = thread::scope(|scope| {
            let threads = [LEN, 2 * LEN].map(|len| scope.spawn(move || make(len)));
            threads.map(|thread| thread.join().unwrap())
        });
        let len = fs::metadata(&path).unwrap().len() as usize;
        match made {
            [Ok(first), Err(error)] if first == LEN && len == LEN => {
                assert!(error
                    .to_string()
                    .contains("65536 bytes already, not 131072"));
            }
            [Err(error), Ok(second)] if second == 2 * LEN && len == 2 * LEN => {
                assert!(error
                    .to_string()
                    .contains("131072 bytes already, not 65536"));
            }
            other => panic!("{other:?}, and the file has {len} bytes"),
        }
    }
}

#[test]
fn a_creator_waits_for_another_creator_of_the_same_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("region");
    let other = File::create(&path).unwrap();
    flock(&other, FlockOperation::LockExclusive).unwrap();
    thread::scope(|scope| {
        let made = scope.spawn(|| Mapping::file(&path, Some(LEN)));
        thread::sleep(std::time::Duration::from_millis(50));
        assert_eq!(fs::metadata(&path).unwrap().len(), 0);
        other.set_len(LEN as u64).unwrap();
        flock(&other, FlockOperation::Unlock).unwrap();
        assert_eq!(made.join().unwrap().unwrap().window().len(), LEN);
    });
}

#[test]
fn check_reports_a_removed_replaced_or_truncated_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("region");
    let make = || Mapping::file(&path, Some(LEN)).unwrap();
    let by_name = make();
    let by_descriptor = Mapping::from_fd(by_name.as_fd().try_clone_to_owned().unwrap()).unwrap();
    let whole = |mapping: &Mapping| mapping.check();
    assert_eq!([&by_name, &by_descriptor].map(whole), [Ok(()); 2]);

    let moved = directory.path().join("moved");
    fs::rename(&path, &moved).unwrap();
    let seen = [&by_name, &by_descriptor].map(whole);
    assert_eq!(seen, [Err(Displaced::Removed), Ok(())]);

    let again = make();
    assert_eq!(whole(&by_name), Err(Displaced::Replaced));
    assert_eq!(whole(&again), Ok(()));

    fs::remove_file(&moved).unwrap();
    assert_eq!(whole(&by_descriptor), Err(Displaced::Removed));

    let file = File::options().write(true).open(&path).unwrap();
    file.set_len(LEN as u64 / 2).unwrap();
    let len = LEN as u64 / 2;
    assert_eq!(whole(&again), Err(Displaced::Truncated { len }));
    for displaced in [
        Displaced::Removed,
        Displaced::Replaced,
        Displaced::Truncated { len },
    ] {
        let text = displaced.to_string();
        assert!(text.contains("map") && !text.contains('\n'), "{text}");
    }
}

#[test]
fn check_distinguishes_unnamed_memory_from_removed_posix_memory() {
    let name = shm_name() + "-check";
    let memfd = Mapping::memfd("test", LEN).unwrap();
    let posix = Mapping::posix_shm(&name, Some(LEN)).unwrap();
    let fixed = posix.map_at(0x5200_0000_0000).unwrap();
    assert_eq!([&memfd, &posix, &fixed].map(Mapping::check), [Ok(()); 3]);
    Mapping::unlink_posix_shm(&name).unwrap();
    let removed = Err(Displaced::Removed);
    assert_eq!(memfd.check(), Ok(()));
    assert_eq!([&posix, &fixed].map(Mapping::check), [removed; 2]);
}

#[test]
fn check_uses_the_absolute_path_of_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let depth = std::env::current_dir().unwrap().components().count() - 1;
    let path = directory.path().join("region");
    let relative = PathBuf::from("../".repeat(depth)).join(path.strip_prefix("/").unwrap());
    let mapping = Mapping::file(&relative, Some(LEN)).unwrap();
    let elsewhere = in_child(|| {
        std::env::set_current_dir("/proc/self").unwrap();
        assert_eq!(mapping.check(), Ok(()));
    });
    assert!(elsewhere.success());
    fs::remove_file(&path).unwrap();
    assert_eq!(mapping.check(), Err(Displaced::Removed));
}

/// Forks a child that calls `run` and ends without destructors. Returns its status.
fn in_child(run: impl Fn() + Send + Sync) -> ExitStatus {
    let run: Box<dyn Fn() + Send + Sync + '_> = Box::new(run);
    // SAFETY: the child ends before any borrow of `run` ends.
    let run: Box<dyn Fn() + Send + Sync> = unsafe { std::mem::transmute(run) };
    let mut child = Command::new("true");
    // SAFETY: `run` takes no lock in the child that another thread may hold.
    unsafe {
        child.pre_exec(move || {
            run();
            Ok(())
        });
    }
    child.status().unwrap()
}

const SIGSEGV: i32 = 11;

#[test]
fn a_forked_child_cannot_use_its_parents_producer_and_the_parent_can() {
    let memory = Mapping::memfd("test", LEN).unwrap();
    let ring = || Ring::attach(memory.window().sub(0, Ring::segment_len(4096)).unwrap()).unwrap();
    let producer = Mutex::new(ring().claim_producer(Incarnation::first(1)).unwrap());
    let mut consumer = ring()
        .claim_consumer(Incarnation::first(2), OnRestart::Keep)
        .unwrap();
    let push = |record: &[u8]| producer.lock().unwrap().push(record);
    push(b"before").unwrap();
    let child = in_child(|| push(b"child").unwrap());
    assert_eq!(child.signal(), Some(SIGSEGV));
    push(b"after").unwrap();
    let mut record = [0; 16];
    for expected in [b"before".as_slice(), b"after"] {
        let len = consumer.pop(&mut record).unwrap();
        assert_eq!(&record[..len], expected);
    }
    assert!(consumer.pop(&mut record).is_err());
}

#[test]
fn a_forked_child_never_maps_memory_at_an_address_of_its_parents_mapping() {
    let memory = Mapping::memfd("test", LEN).unwrap();
    let at = memory.window().address().as_ptr() as usize;
    let child = in_child(|| {
        let fd = || memory.as_fd().try_clone_to_owned().unwrap();
        let own: Vec<_> = (0..20).map(|_| Mapping::from_fd(fd()).unwrap()).collect();
        assert!(own[0].map_at(at).is_err());
        memory.window().write(0, b"parent's");
    });
    assert_eq!(child.signal(), Some(SIGSEGV));
    // A mapping that the parent has dropped is not reserved in children.
    drop(memory);
    let other = (0..20).find_map(|_| {
        let ended = Mapping::memfd("test", LEN).unwrap();
        let at = ended.window().address().as_ptr();
        drop(ended);
        let (access, how) = (
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::PRIVATE | MapFlags::FIXED_NOREPLACE,
        );
        // SAFETY: it replaces nothing; if another thread used the address first, retry.
        unsafe { mmap_anonymous(at.cast(), LEN, access, how) }.ok()
    });
    let other = other.unwrap() as usize;
    // SAFETY: mapped above, and used only here.
    let child = in_child(|| unsafe { (other as *mut u8).write_volatile(1) });
    assert!(child.success(), "{child}");
}

#[test]
fn dropping_a_mapping_of_the_parent_in_a_forked_child_does_nothing() {
    let memory = Mutex::new(Some(Mapping::memfd("test", LEN).unwrap()));
    let child = in_child(|| drop(memory.lock().unwrap().take().unwrap()));
    assert!(child.success(), "{child}");
    let memory = memory.into_inner().unwrap().unwrap();
    memory.window().write(0, b"still there");
}

#[test]
fn a_forked_child_has_an_inherited_mapping() {
    let memory = Mapping::memfd("test", LEN).unwrap();
    memory.inherit_on_fork().unwrap();
    let child = in_child(|| memory.window().write(0, b"child"));
    assert!(child.success(), "{child}");
    let mut bytes = [0; 5];
    memory.window().read(0, &mut bytes);
    assert_eq!(&bytes, b"child");
}

#[test]
fn an_unfinished_file_is_not_mapped_and_can_be_created_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("region");
    let half = [&b"unmade\r\n"[..], &[0; 5000]].concat();
    std::fs::write(&path, half).unwrap();
    let refused = Mapping::file(&path, None).map(drop).unwrap_err();
    assert!(refused.to_string().contains("is creating it"), "{refused}");
    let memory = Mapping::file(&path, Some(65536)).unwrap();
    let window = memory.window();
    assert_eq!(window.len(), 65536);
    assert_eq!(window.word(0).load(Relaxed), 0);
}

#[test]
fn more_memory_than_the_machine_has_is_an_error() {
    let refused = Mapping::memfd("absurd", 1 << 60).map(drop).unwrap_err();
    let advice = "use a smaller length";
    assert!(refused.to_string().contains(advice), "{refused}");
}
