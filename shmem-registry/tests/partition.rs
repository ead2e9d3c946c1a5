//! What partitions know about each other's incarnations.
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
fn attaching_without_a_slot_reports_the_number_of_slots() {
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
fn a_number_is_not_attached_twice_while_its_partition_is_alive() {
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
    assert_eq!(first.beat(), Ok(()), "the region is unchanged");
    // The incarnation that is attached is not the one that is gone.
    let error = registry
        .attach_after(incarnation(3, 9), Process::UNKNOWN)
        .err();
    assert_eq!(error, attached);
}

#[test]
fn an_evicted_partition_gets_an_error_at_its_next_beat_and_stores_nothing() {
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
fn one_of_two_partitions_with_one_number_is_evicted_by_the_heartbeat() {
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
fn a_slot_with_the_incarnation_of_another_partition_is_corrupt() {
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
fn a_new_incarnation_attaches_once_the_old_one_is_known_to_be_gone() {
    let heap = Heap::new(1 << 16);
    let registry = registry(&heap);
    core::mem::forget(registry.attach_partition(2, Process::UNKNOWN).unwrap());
    let checks = Cell::new(0);
    struct After<'a>(&'a Cell<u32>);
    impl Liveness for After<'_> {
        fn state(&mut self, _: Incarnation) -> PartitionState {
            self.0.set(self.0.get() + 1);
            PartitionState::from_is_gone(self.0.get() > 5)
        }
    }
    let attachment = registry
        .attach_or_take_over(
            2,
            Process::UNKNOWN,
            &mut Spin::forever(),
            &mut After(&checks),
        )
        .unwrap();
    assert_eq!(
        (attachment.incarnation(), checks.get()),
        (incarnation(2, 2), 6)
    );
}

#[test]
fn a_partition_from_before_a_format_changes_no_slot_when_it_leaves() {
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
        "a format starts the incarnations again"
    );
    assert_eq!(before.check(), Err(Evicted));
    assert_eq!(before.beat(), Err(Evicted));
    drop(before);
    assert!(registry.partition(2).unwrap().attached);
}

#[test]
fn a_registry_handle_from_before_a_format_attaches_no_partition() {
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
    let error = before.attach_partition(50, Process::UNKNOWN).map(drop);
    assert_eq!(error, Err(AttachError::Reformatted));
    let error = before
        .attach_after(incarnation(3, 1), Process::UNKNOWN)
        .map(drop);
    assert_eq!(error, Err(AttachError::Reformatted));
    assert_eq!(registry.segments().count(), 0, "its tables are unchanged");
}

#[test]
fn the_one_of_two_attached_at_once_whose_process_is_not_in_the_slot_is_evicted() {
    let heap = Heap::new(1 << 16);
    let registry = registry(&heap);
    let process = |number| Process {
        number,
        ..Process::UNKNOWN
    };
    let fast = registry.attach_partition(2, process(7)).unwrap();
    fast.beat().unwrap();
    // The slow one had loaded the slot before, and stores the same incarnation and its own process.
    let slots = shmem_registry::layout::PARTITIONS + shmem_core::layout::LINE;
    heap.window().word(slots + 12).store(8, Relaxed);
    assert_eq!(fast.beat(), Err(Evicted));
    drop(fast);
    assert!(
        registry.partition(2).unwrap().attached,
        "the slot belongs to the other"
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

    /// The variable with the path of a child's region.
    const REGION: &str = "SHMEM_TEST_REGION";

    /// This test program as partition 2 of a region; it follows commands.
    struct Peer(Child);

    impl Peer {
        /// Starts it, by the command `launcher` if that is not empty, and waits until it is
        /// attached. `name` is the process name that it takes.
        fn start(memory: &Mapping, launcher: &[&str], name: &[u8]) -> Self {
            let us = env::current_exe().unwrap();
            let us = us.to_str().unwrap();
            let test = "processes::a_peer_of_the_other_tests";
            let line = [launcher, &[us, "--exact", test, "--nocapture"]].concat();
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
            peer.wait_for_line("attached");
            peer
        }

        /// Waits until it prints a line.
        fn wait_for_line(&mut self, wanted: &str) {
            let lines = BufReader::new(self.0.stdout.as_mut().unwrap()).lines();
            let found = lines.map_while(Result::ok).any(|line| line == wanted);
            assert!(found, "the peer ended without {wanted:?}");
        }

        fn send_line(&mut self, line: &str) {
            writeln!(self.0.stdin.as_mut().unwrap(), "{line}").unwrap();
        }

        fn kill(&mut self) {
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
            return; // Not started by another test.
        };
        let mut lines = std::io::stdin().lines();
        let name = lines.next().unwrap().unwrap();
        let name: Vec<u8> = name
            .split_whitespace()
            .map(|byte| byte.parse().unwrap())
            .collect();
        if !name.is_empty() {
            // The name of a process is that of its first thread.
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
            panic!("exec failed: {error}");
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

    /// Returns the state of partition 2 once it is `wanted`, or its state after a while.
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
    fn a_killed_process_is_reported_gone_at_once() {
        let memory = memory();
        let registry = attach(&memory);
        let mut liveness = Processes::new(registry);
        let mut peer = Peer::start(&memory, &[], b"");
        assert_eq!(liveness.state(incarnation(2, 1)), Alive);
        peer.kill();
        assert_eq!(liveness.state(incarnation(2, 1)), Gone);
        // The first check is after it has ended.
        assert_eq!(Processes::new(registry).state(incarnation(2, 1)), Gone);
    }

    #[test]
    fn a_process_whose_name_is_not_text_is_watched() {
        let memory = memory();
        let mut peer = Peer::start(&memory, &[], b"ab\xc3) Z\xff");
        let mut liveness = Processes::new(attach(&memory));
        assert_eq!(liveness.state(incarnation(2, 1)), Alive);
        peer.kill();
        assert_eq!(liveness.state(incarnation(2, 1)), Gone);
    }

    #[test]
    fn a_process_that_runs_another_program_is_reported_gone() {
        let memory = memory();
        let registry = attach(&memory);
        let mut liveness = Processes::new(registry);
        let mut peer = Peer::start(&memory, &[], b"");
        assert_eq!(state_soon(&mut liveness, Gone), Alive);
        peer.send_line("exec");
        assert_eq!(state_soon(&mut liveness, Gone), Gone);
        assert_eq!(Processes::new(registry).state(incarnation(2, 1)), Gone);
    }

    #[test]
    fn a_process_in_another_time_namespace_is_not_reported_gone() {
        let memory = memory();
        let launcher = ["unshare", "--fork", "-T", "--boottime", "1000"];
        let attempt = Command::new(launcher[0])
            .args(&launcher[1..])
            .arg("true")
            .status();
        if !attempt.is_ok_and(|status| status.success()) {
            eprintln!("skipped: time namespaces are not available");
            return;
        }
        let _peer = Peer::start(&memory, &launcher, b"");
        let mut liveness = Processes::new(attach(&memory));
        assert_eq!(state_soon(&mut liveness, Gone), Alive);
    }

    #[test]
    fn a_temporary_failure_does_not_hide_a_later_death() {
        let memory = memory();
        let mut peer = Peer::start(&memory, &[], b"");
        let us = env::current_exe().unwrap();
        let fd = std::os::fd::AsRawFd::as_raw_fd(&memory.as_fd());
        // A process of its own, because it uses up its descriptors.
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
        let found = lines
            .by_ref()
            .map_while(Result::ok)
            .any(|line| line == "alive");
        assert!(found);
        peer.kill();
        drop(watcher.stdin.take());
        let found = lines.map_while(Result::ok).any(|line| line == "gone");
        assert!(found, "the death was never reported");
        watcher.wait().unwrap();
    }

    #[test]
    fn a_watcher_without_descriptors() {
        let Ok(region) = env::var(REGION) else {
            return; // Not started by another test.
        };
        let memory = Mapping::file(region.as_ref(), None).unwrap();
        let mut liveness = Processes::new(attach(&memory));
        let files = || std::fs::File::open("/dev/null");
        let taken: Vec<_> = core::iter::from_fn(|| files().ok()).collect();
        assert!(!taken.is_empty() && files().is_err());
        assert_eq!(liveness.state(incarnation(2, 1)), Alive);
        drop(taken);
        println!("\nalive");
        // Blocks until the peer has ended.
        let _ = std::io::stdin().lines().count();
        assert_eq!(liveness.state(incarnation(2, 1)), Gone);
        println!("\ngone");
    }

    #[test]
    fn a_reused_process_number_is_not_the_same_process() {
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
    fn a_process_of_another_kernel_is_never_reported_gone() {
        let heap = Heap::new(1 << 16);
        let registry = registry(&heap);
        let foreign = Process {
            namespace_id: Process::this().namespace_id ^ 1,
            number: 4_000_000,
            start: 1,
            image: 1,
        };
        let attachment = registry.attach_partition(2, foreign).unwrap();
        assert!(!Processes::new(registry).is_gone(attachment.incarnation()));
        let unknown = registry.attach_partition(3, Process::UNKNOWN).unwrap();
        assert!(!Processes::new(registry).is_gone(unknown.incarnation()));
    }
}
