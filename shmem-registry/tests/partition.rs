//! What partitions know of each other's incarnations.
#![cfg(not(loom))]

use std::cell::Cell;

use shmem_core::mem::Heap;
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::wait::Spin;
use shmem_core::{AssumeAlive, Incarnation, Liveness, PartitionState, Region};
use shmem_registry::{AttachError, Evicted, Geometry, Process, Registry};

fn registry(heap: &Heap) -> Registry<'_> {
    let region = Region::format(heap.window()).unwrap();
    Registry::format(region, Geometry::default()).unwrap()
}

fn incarnation(partition: u8, number: u32) -> Incarnation {
    Incarnation::new(partition, number).unwrap()
}

#[test]
fn a_partition_shows_its_incarnation_in_its_own_slot() {
    let heap = Heap::new(1 << 16);
    let registry = registry(&heap);
    let never = registry.partition(2).unwrap();
    assert_eq!((never.incarnation, never.attached), (None, false));
    let attachment = registry.attach_partition(2, Process::UNKNOWN).unwrap();
    let before = registry.partition(2).unwrap();
    attachment.beat().unwrap();
    let after = registry.partition(2).unwrap();
    assert!(before.attached && before.incarnation == Some(incarnation(2, 1)));
    assert_ne!(before.heartbeat, after.heartbeat);
    drop(attachment);
    let left = registry.partition(2).unwrap();
    assert_eq!(
        (left.incarnation, left.attached),
        (Some(incarnation(2, 1)), false)
    );
    let again = registry.attach_partition(2, Process::UNKNOWN).unwrap();
    assert_eq!(again.incarnation(), incarnation(2, 2));
}

#[test]
fn a_number_without_a_slot_is_an_error_that_says_how_many_there_are() {
    let heap = Heap::new(1 << 16);
    let registry = registry(&heap);
    for partition in [0, 65, 255] {
        let error = registry.attach_partition(partition, Process::UNKNOWN).err();
        let slots = 64;
        assert_eq!(
            error,
            Some(AttachError::NoSuchPartition { partition, slots })
        );
        assert!(registry.partition(partition).is_err());
    }
}

#[test]
fn a_number_is_not_attached_twice_while_the_first_lives() {
    let heap = Heap::new(1 << 16);
    let registry = registry(&heap);
    let first = registry.attach_partition(3, Process::UNKNOWN).unwrap();
    let attached = Some(AttachError::Attached {
        incarnation: incarnation(3, 1),
    });
    assert_eq!(
        registry.attach_partition(3, Process::UNKNOWN).err(),
        attached
    );
    let mut wait = Spin::checks(10);
    let error = registry.attach_or_take_over(3, Process::UNKNOWN, &mut wait, &mut AssumeAlive);
    assert_eq!(error.err(), attached);
    assert_eq!(first.beat(), Ok(()), "the region is as it was");
    // Another incarnation than the one that is over has it.
    let error = registry
        .attach_after(incarnation(3, 9), Process::UNKNOWN)
        .err();
    assert_eq!(error, attached);
}

#[test]
fn who_was_taken_for_dead_learns_it_with_its_next_beat_and_touches_nothing() {
    let heap = Heap::new(1 << 16);
    let registry = registry(&heap);
    let slow = registry.attach_partition(3, Process::UNKNOWN).unwrap();
    let next = registry
        .attach_after(slow.incarnation(), Process::UNKNOWN)
        .unwrap();
    assert_eq!(next.incarnation(), incarnation(3, 2));
    let before = registry.partition(3).unwrap();
    assert_eq!(slow.beat(), Err(Evicted));
    drop(slow);
    assert_eq!(registry.partition(3).unwrap(), before);
}

#[test]
fn two_that_were_given_one_number_learn_it_by_the_heartbeat() {
    let heap = Heap::new(1 << 16);
    let registry = registry(&heap);
    let first = registry.attach_partition(3, Process::UNKNOWN).unwrap();
    // As if it had attached at the same moment.
    let at = 256 + 2 * 128;
    heap.window().word(at).store(0, Relaxed);
    let second = registry.attach_partition(3, Process::UNKNOWN).unwrap();
    assert_eq!(second.incarnation(), first.incarnation());
    second.beat().unwrap();
    assert_eq!(first.beat(), Err(Evicted));
}

#[test]
fn a_slot_that_holds_another_partitions_incarnation_is_corrupt() {
    let heap = Heap::new(1 << 16);
    let registry = registry(&heap);
    for word in [incarnation(4, 1).word(), 7, 0x100] {
        heap.window().word(256).store(word, Relaxed);
        let is_corrupt = |error: Option<AttachError>| matches!(error, Some(AttachError::Corrupt(corrupt)) if corrupt.value == word);
        assert!(is_corrupt(registry.partition(1).err()));
        let error = registry.attach_partition(1, Process::UNKNOWN).err();
        assert!(is_corrupt(error));
    }
}

#[test]
fn a_new_incarnation_attaches_as_soon_as_the_old_one_is_known_to_be_over() {
    let heap = Heap::new(1 << 16);
    let registry = registry(&heap);
    core::mem::forget(registry.attach_partition(2, Process::UNKNOWN).unwrap());
    let looks = Cell::new(0);
    struct After<'a>(&'a Cell<u32>);
    impl Liveness for After<'_> {
        fn state(&mut self, _: Incarnation) -> PartitionState {
            self.0.set(self.0.get() + 1);
            PartitionState::gone_if(self.0.get() > 5)
        }
    }
    let attachment = registry
        .attach_or_take_over(
            2,
            Process::UNKNOWN,
            &mut Spin::forever(),
            &mut After(&looks),
        )
        .unwrap();
    assert_eq!(
        (attachment.incarnation(), looks.get()),
        (incarnation(2, 2), 6)
    );
}

#[test]
fn who_was_attached_to_a_region_before_it_was_formatted_leaves_in_nobodys_name() {
    let heap = Heap::new(1 << 16);
    let format = || {
        let region = Region::format(heap.window()).unwrap();
        Registry::format(region, Geometry::default()).unwrap()
    };
    let before = format().attach_partition(2, Process::UNKNOWN).unwrap();
    let registry = format();
    let now = registry.attach_partition(2, Process::UNKNOWN).unwrap();
    assert_eq!(
        before.incarnation(),
        now.incarnation(),
        "the memory counts from the beginning"
    );
    assert_eq!(before.check(), Err(Evicted));
    assert_eq!(before.beat(), Err(Evicted));
    drop(before);
    assert!(registry.partition(2).unwrap().attached);
}

#[test]
fn nobody_attaches_by_the_registry_of_before_the_format() {
    let heap = Heap::new(1 << 16);
    let format = |partitions| {
        let region = Region::format(heap.window()).unwrap();
        let geometry = Geometry {
            partitions,
            ..Geometry::default()
        };
        Registry::format(region, geometry).unwrap()
    };
    let (before, registry) = (format(64), format(4));
    let refused = before.attach_partition(50, Process::UNKNOWN).map(drop);
    assert_eq!(refused, Err(AttachError::Reformatted));
    let refused = before
        .attach_after(incarnation(3, 1), Process::UNKNOWN)
        .map(drop);
    assert_eq!(refused, Err(AttachError::Reformatted));
    assert_eq!(
        registry.segments().count(),
        0,
        "its tables are as they were"
    );
}

#[test]
fn of_twins_that_attached_at_one_moment_the_one_whose_process_is_not_in_the_slot_is_evicted() {
    let heap = Heap::new(1 << 16);
    let registry = registry(&heap);
    let process = |number| Process {
        number,
        ..Process::UNKNOWN
    };
    let quick = registry.attach_partition(2, process(7)).unwrap();
    quick.beat().unwrap();
    // The slow one had looked before, and stores the same incarnation and its own process.
    let slots = shmem_registry::layout::PARTITIONS + shmem_core::layout::LINE;
    heap.window().word(slots + 12).store(8, Relaxed);
    assert_eq!(quick.beat(), Err(Evicted));
    drop(quick);
    assert!(
        registry.partition(2).unwrap().attached,
        "the slot is the other's"
    );
}

#[cfg(all(feature = "linux", target_os = "linux"))]
mod processes {
    use std::env;
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command, Stdio};
    use std::time::Duration;

    use shmem_core::region::Mapping;
    use shmem_core::PartitionState::{Alive, Gone};
    use shmem_registry::Processes;

    use super::*;

    /// Where the region of a child's is.
    const REGION: &str = "SHMEM_TEST_REGION";

    /// This test program, as partition 2 of a region, which does what it is told.
    struct Peer(Child);

    impl Peer {
        /// It attaches; `front` is what starts it, and `name` what the kernel calls it.
        fn start(memory: &Mapping, front: &[&str], name: &[u8]) -> Self {
            let us = env::current_exe().unwrap();
            let us = us.to_str().unwrap();
            let test = "processes::a_peer_of_the_other_tests";
            let line = [front, &[us, "--exact", test, "--nocapture"]].concat();
            let fd = std::os::fd::AsRawFd::as_raw_fd(&memory.as_fd());
            let mut child = Command::new(line[0])
                .args(&line[1..])
                .env(REGION, format!("/proc/{}/fd/{fd}", std::process::id()))
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let name: Vec<_> = name.iter().map(u8::to_string).collect();
            writeln!(child.stdin.as_mut().unwrap(), "{}", name.join(" ")).unwrap();
            let mut peer = Self(child);
            peer.hear("attached");
            peer
        }

        /// Waits for a line.
        fn hear(&mut self, wanted: &str) {
            let lines = BufReader::new(self.0.stdout.as_mut().unwrap()).lines();
            let heard = lines.map_while(Result::ok).any(|line| line == wanted);
            assert!(heard, "the peer ended without {wanted:?}");
        }

        fn tell(&mut self, line: &str) {
            writeln!(self.0.stdin.as_mut().unwrap(), "{line}").unwrap();
        }

        fn end(&mut self) {
            self.0.kill().unwrap();
            self.0.wait().unwrap();
        }
    }

    impl Drop for Peer {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn a_peer_of_the_other_tests() {
        let Ok(region) = env::var(REGION) else {
            return; // Nobody's peer.
        };
        let mut lines = std::io::stdin().lines();
        let name = lines.next().unwrap().unwrap();
        let name: Vec<u8> = name
            .split_whitespace()
            .map(|byte| byte.parse().unwrap())
            .collect();
        if !name.is_empty() {
            // The process's name is that of its first thread.
            let comm = format!("/proc/self/task/{}/comm", std::process::id());
            std::fs::write(comm, name).unwrap();
        }
        let memory = Mapping::file(region.as_ref(), None).unwrap();
        let registry = Registry::attach(Region::attach(memory.window()).unwrap()).unwrap();
        let process = Process::this();
        let attachment = registry.attach_partition(2, process).unwrap();
        println!(
            "\n{}",
            if process == Process::UNKNOWN {
                "unknown"
            } else {
                "attached"
            }
        );
        if let Some(Ok(line)) = lines.next() {
            assert_eq!(line, "exec");
            let error = Command::new("/bin/sleep").arg("1000").exec();
            panic!("no exec: {error}");
        }
        drop(attachment);
    }

    fn memory() -> Mapping {
        let memory = Mapping::memfd("test", 1 << 16).unwrap();
        registry_in(&memory);
        memory
    }

    fn registry_in(memory: &Mapping) -> Registry<'_> {
        let region = Region::format(memory.window()).unwrap();
        Registry::format(region, Geometry::default()).unwrap()
    }

    fn attach(memory: &Mapping) -> Registry<'_> {
        Registry::attach(Region::attach(memory.window()).unwrap()).unwrap()
    }

    /// The state of partition 2 once it is `wanted`, or what it still is after a while.
    fn state_soon(liveness: &mut Processes<'_>, wanted: PartitionState) -> PartitionState {
        let mut state = liveness.state(incarnation(2, 1));
        for _ in 0..100 {
            if state == wanted {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
            state = liveness.state(incarnation(2, 1));
        }
        state
    }

    #[test]
    fn a_process_that_was_killed_is_known_to_be_gone_at_once() {
        let memory = memory();
        let registry = attach(&memory);
        let mut liveness = Processes::new(registry);
        let mut peer = Peer::start(&memory, &[], b"");
        assert_eq!(liveness.state(incarnation(2, 1)), Alive);
        peer.end();
        assert_eq!(liveness.state(incarnation(2, 1)), Gone);
        // Asked for the first time when it is gone.
        assert_eq!(Processes::new(registry).state(incarnation(2, 1)), Gone);
    }

    #[test]
    fn a_process_whose_name_is_no_text_is_known() {
        let memory = memory();
        let mut peer = Peer::start(&memory, &[], b"ab\xc3) Z\xff");
        let mut liveness = Processes::new(attach(&memory));
        assert_eq!(liveness.state(incarnation(2, 1)), Alive);
        peer.end();
        assert_eq!(liveness.state(incarnation(2, 1)), Gone);
    }

    #[test]
    fn a_process_that_runs_another_program_is_gone_as_a_partition() {
        let memory = memory();
        let registry = attach(&memory);
        let mut liveness = Processes::new(registry);
        let mut peer = Peer::start(&memory, &[], b"");
        assert_eq!(state_soon(&mut liveness, Gone), Alive);
        peer.tell("exec");
        assert_eq!(state_soon(&mut liveness, Gone), Gone);
        assert_eq!(Processes::new(registry).state(incarnation(2, 1)), Gone);
    }

    #[test]
    fn a_process_in_another_time_namespace_is_not_taken_for_gone() {
        let memory = memory();
        let front = ["unshare", "--fork", "-T", "--boottime", "1000"];
        let may_try = Command::new(front[0])
            .args(&front[1..])
            .arg("true")
            .status();
        if !may_try.is_ok_and(|status| status.success()) {
            eprintln!("skipped: no time namespaces here");
            return;
        }
        let _peer = Peer::start(&memory, &front, b"");
        let mut liveness = Processes::new(attach(&memory));
        assert_eq!(state_soon(&mut liveness, Gone), Alive);
    }

    #[test]
    fn a_failure_that_can_pass_is_not_remembered() {
        let memory = memory();
        let mut peer = Peer::start(&memory, &[], b"");
        let us = env::current_exe().unwrap();
        let fd = std::os::fd::AsRawFd::as_raw_fd(&memory.as_fd());
        // A process of its own, since it runs out of descriptors.
        let mut watcher = Command::new("sh")
            .args(["-c", "ulimit -n 40; exec \"$@\"", "sh"])
            .arg(us)
            .args([
                "--exact",
                "processes::a_watcher_without_descriptors",
                "--nocapture",
            ])
            .env(REGION, format!("/proc/{}/fd/{fd}", std::process::id()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(watcher.stdout.take().unwrap()).lines();
        let heard = lines
            .by_ref()
            .map_while(Result::ok)
            .any(|line| line == "alive");
        assert!(heard);
        peer.end();
        drop(watcher.stdin.take());
        let heard = lines.map_while(Result::ok).any(|line| line == "gone");
        assert!(heard, "the death was never noticed");
        watcher.wait().unwrap();
    }

    #[test]
    fn a_watcher_without_descriptors() {
        let Ok(region) = env::var(REGION) else {
            return; // Nobody asked.
        };
        let memory = Mapping::file(region.as_ref(), None).unwrap();
        let mut liveness = Processes::new(attach(&memory));
        let files = || std::fs::File::open("/dev/null");
        let taken: Vec<_> = core::iter::from_fn(|| files().ok()).collect();
        assert!(!taken.is_empty() && files().is_err());
        assert_eq!(liveness.state(incarnation(2, 1)), Alive);
        drop(taken);
        println!("\nalive");
        // Until the peer has ended.
        let _ = std::io::stdin().lines().count();
        assert_eq!(liveness.state(incarnation(2, 1)), Gone);
        println!("\ngone");
    }

    #[test]
    fn a_process_number_that_is_used_again_is_not_taken_for_the_same_process() {
        let heap = Heap::new(1 << 16);
        let registry = registry(&heap);
        let mut other = Process::this();
        let ours = registry.attach_partition(1, other).unwrap();
        assert!(!Processes::new(registry).is_gone(ours.incarnation()));
        other.start = other.start.wrapping_sub(1);
        let gone = registry.attach_partition(2, other).unwrap();
        assert!(Processes::new(registry).is_gone(gone.incarnation()));
    }

    #[test]
    fn of_a_process_of_another_kernel_nothing_is_known() {
        let heap = Heap::new(1 << 16);
        let registry = registry(&heap);
        let far = Process {
            space: Process::this().space ^ 1,
            number: 4_000_000,
            start: 1,
            image: 1,
        };
        let attachment = registry.attach_partition(2, far).unwrap();
        assert!(!Processes::new(registry).is_gone(attachment.incarnation()));
        let unknown = registry.attach_partition(3, Process::UNKNOWN).unwrap();
        assert!(!Processes::new(registry).is_gone(unknown.incarnation()));
    }
}
