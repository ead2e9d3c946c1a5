//! What dead partitions leave is reported as `left`, and not as damage. The exit status is 1.

mod common;

use std::process::{Child, Command};

use common::{Sample, findings, inspect, shmem, text};
use shmem_core::Incarnation;
use shmem_registry::{Kind, Process, Request};

/// A process that sleeps; dropping it kills it.
struct Sleeper(Child);

impl Sleeper {
    fn new() -> Self {
        Self(Command::new("sleep").arg("1000").spawn().unwrap())
    }

    /// Returns the description of the process, as the process would note it itself.
    fn process(&self) -> Process {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        let fields = stat.rsplit_once(')').unwrap().1;
        let start: u64 = fields.split_whitespace().nth(19).unwrap().parse().unwrap();
        Process {
            number: self.0.id(),
            start: start as u32,
            image: 0,
            ..Process::this()
        }
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Returns the findings in a dump of the sample after `change`.
fn left(change: impl FnOnce(&Sample)) -> Vec<String> {
    let sample = Sample::new();
    change(&sample);
    let (text, status) = inspect(sample.dump());
    assert_eq!(status, 1, "{text}");
    findings(&text).into_iter().map(str::to_owned).collect()
}

fn inside(name: &str, at: usize, value: u32) -> Vec<String> {
    left(|sample| sample.store(sample.offset(name) + at, value))
}

/// The number of the incarnation before the first: numbers wrap.
const BEFORE_FIRST: u32 = (1 << 23) - 1;

/// An earlier incarnation of partition 2.
fn earlier() -> u32 {
    Incarnation::new(2, BEFORE_FIRST).unwrap().word()
}

#[test]
fn a_process_that_ended_without_leaving_is_reported_with_its_number() {
    let sample = Sample::new();
    let mut sleeper = Sleeper::new();
    let process = sleeper.process();
    let attachment = sample.registry().attach_partition(3, process).unwrap();
    let ring = sample.segment("echo", Kind::RING, 1024);
    let ring = shmem_core::ring::Ring::attach(ring).unwrap();
    std::mem::forget(ring.claim_producer(attachment.incarnation()).unwrap());

    let (text, status) = inspect(sample.live());
    let row = format!(
        "\n3          3.1          attached    1 still  {} alive\n",
        process.number
    );
    assert!(text.contains(&row), "{text}");
    assert_eq!(status, 0, "{text}");

    sleeper.kill();
    let (text, status) = inspect(sample.live());
    let gone = format!(
        "left: partition 3: process {} ended and did not leave",
        process.number
    );
    let held = "left: row 9 (echo): its producing end is held by incarnation 1 of partition 3, \
                            which is gone";
    assert_eq!(findings(&text), [&gone, held]);
    assert!(text.contains("3.1!"), "{text}");
    assert_eq!(status, 1);

    // The process in a dump is not checked, since the dump may be from another machine.
    let (text, status) = inspect(sample.dump());
    assert_eq!(status, 0, "{text}");

    drop(attachment);
    let (text, _) = inspect(sample.live());
    assert!(text.contains("\n3          3.1!         left "), "{text}");
}

#[test]
fn what_an_earlier_incarnation_holds_is_left() {
    let gone = "incarnation 8388607 of partition 2, which is gone";
    let line = |row: &str, what: &str| vec![format!("left: row {row}: {what} {gone}")];
    assert_eq!(
        inside("kmon.result", 4, earlier()),
        line("1 (kmon.result)", "its producing end is held by")
    );
    assert_eq!(inside("jobs", 0, earlier()), line("3 (jobs)", "held by"));
    assert_eq!(
        inside("pool", 136, earlier()),
        line("5 (pool)", "1 permit held by")
    );
    assert_eq!(
        inside("map", 0, earlier()),
        line("6 (map)", "held for writing by")
    );
    assert_eq!(inside("map", 132, earlier()), line("6 (map)", "read by"));
    assert_eq!(
        left(|sample| {
            let start = sample.offset("start");
            sample.store(start + 132, 2); // Partition 1 is at phase 2,
            sample.store(start + 136, earlier()); // this one at 1.
            sample.store(start + 140, 1);
        }),
        line("7 (start)", "the other parties wait for")
    );
    assert_eq!(
        left(|sample| {
            let bus = sample.offset("bus");
            sample.store(bus + 128, Incarnation::new(1, BEFORE_FIRST).unwrap().word());
            sample.store(bus + 132, 3 << 2);
        }),
        ["left: row 4 (bus): partition 1 waited when incarnation 8388607 of it ended"]
    );
}

#[test]
fn what_an_incarnation_holds_that_has_not_attached_is_not_reported_as_left() {
    // Neither of them: partition 7, and the second incarnation of partition 2.
    for (partition, number) in [(7, 3), (2, 2)] {
        let sample = Sample::new();
        let unknown = Incarnation::new(partition, number).unwrap().word();
        sample.store(sample.offset("jobs"), unknown);
        let (text, status) = inspect(sample.dump());
        assert_eq!((findings(&text), status), (vec![], 0));
        let held = format!("held by {partition}.{number}\n");
        assert!(text.contains(&held), "{text}");
    }
}

#[test]
fn a_lock_whose_owner_died_inside_shows_whether_it_is_repaired() {
    assert_eq!(
        inside("jobs", 4, Incarnation::first(1).word()),
        [
            "left: row 3 (jobs): an owner died while it held the lock, and the data is not repaired yet"
        ]
    );
    assert_eq!(
        inside("jobs", 4, 2),
        [
            "left: row 3 (jobs): an owner died while it held the lock, and the data was not repaired: \
          the lock stays poisoned"
        ]
    );
}

#[test]
fn unfinished_rows_are_shown_with_their_owner() {
    let (owner, next) = (0, 8);
    assert_eq!(
        left(|sample| sample.store(sample.row("jobs", owner), earlier())),
        [
            "left: row 3 (jobs): created, not released by incarnation 8388607 of partition 2, \
             which is gone: Registry::reap in any partition frees it"
        ]
    );
    let sample = Sample::new();
    sample.store(sample.row("jobs", next), 1 << 31);
    let (text, _) = inspect(sample.dump());
    assert_eq!(
        findings(&text),
        [
            "left: row 3 (jobs): removed, but its blocks are not freed: Registry::reap in any partition \
          frees them"
        ]
    );
    assert!(
        text.contains("\n             3    0  -      jobs     removed, not freed\n"),
        "{text}"
    );
    assert!(!text.contains("jobs          mutex"), "{text}");
}

#[test]
fn a_row_on_which_a_living_partition_works_is_shown_and_sound() {
    let sample = Sample::new();
    let registry = sample.registry();
    let request = Request::named("new", Kind::RAW, 100).unwrap();
    registry
        .open_or_create(Incarnation::first(2), &request)
        .unwrap();
    sample.store(sample.row("new", 0), Incarnation::first(2).word());
    let (shown, status) = inspect(sample.live());
    assert_eq!(status, 0, "{shown}");
    assert!(
        shown.contains("9    0  2.1    new      created, not released\n"),
        "{shown}"
    );
    let json = shmem(["inspect", "--json", &sample.live()]);
    let json: serde_json::Value = serde_json::from_str(&text(&json.stdout)).unwrap();
    assert_eq!(json["unfinished"][0]["owner"]["partition"], 2);
}
