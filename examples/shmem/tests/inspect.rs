//! Runs the real program on sound regions, live and dumped.

mod common;

use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use common::{LEN, Sample, findings, inspect, shmem, text};
use serde_json::Value;
use shmem_core::typed_ring::{OnRestart, TypedRing};
use shmem_core::{Incarnation, Mapping, Region};
use shmem_registry::{Geometry, Kind, Registry, Request};

fn docs() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/inspect.md");
    std::fs::read_to_string(path).unwrap()
}

/// Returns what `shmem inspect --json` prints of a place.
fn json(place: impl AsRef<std::ffi::OsStr>) -> Value {
    let output = shmem(["inspect".as_ref(), "--json".as_ref(), place.as_ref()]);
    let text = text(&output.stdout);
    assert_eq!(text.matches('\n').count(), 1, "one line: {text}");
    serde_json::from_str(&text).unwrap()
}

#[test]
fn the_example_in_the_documentation_is_the_real_output() {
    let sample = Sample::new();
    let output = shmem(["inspect", "--records", "1", &sample.live()]);
    assert_eq!(output.status.code(), Some(0));
    let printed = text(&output.stdout).replace(&sample.live(), "file:/dev/shm/instance");
    let docs = docs();
    let example = docs.split("```text\n$ shmem inspect").nth(1).unwrap();
    let example = example.split_once('\n').unwrap().1;
    assert_eq!(printed, example.split("```").next().unwrap());
}

#[test]
fn a_dump_and_the_live_region_give_the_same_report() {
    let sample = Sample::new();
    let live = json(sample.live());
    let mut dump = json(sample.dump());
    assert_eq!(
        (&live["source"], &dump["source"]),
        (&"live".into(), &"dump".into())
    );
    for key in ["place", "source"] {
        dump[key] = live[key].clone();
    }
    // A dump is inspected once, so it is unknown whether a heartbeat moves.
    for (dumped, live) in [(0, 0), (1, 1)].map(|(n, m)| (n, &live["partitions"][m])) {
        assert_eq!(dump["partitions"][dumped]["moves"], Value::Null);
        dump["partitions"][dumped]["moves"] = live["moves"].clone();
    }
    assert_eq!(dump, live);
}

#[test]
fn json_and_text_agree() {
    let sample = Sample::new();
    sample.store(sample.offset("jobs") + 4, 7);
    let (shown, status) = inspect(sample.dump());
    let json = json(sample.dump());
    assert_eq!((&json["sound"], status), (&Value::Bool(false), 1));
    let finding = &json["findings"][0];
    let line = format!(
        "{}: {}: {}",
        finding["severity"].as_str().unwrap(),
        finding["at"].as_str().unwrap(),
        finding["what"].as_str().unwrap()
    );
    assert_eq!(findings(&shown), [line]);
    assert_eq!(finding["code"], "lock.health");

    let segments = json["segments"].as_array().unwrap();
    assert_eq!(segments.len(), 9);
    for segment in segments {
        let cells = ["name", "kind", "id"].map(|key| segment[key].as_str().unwrap());
        let numbers = ["offset", "length", "row"].map(|key| segment[key].to_string());
        let row = shown.lines().find(|line| line.ends_with(cells[2])).unwrap();
        let shown: Vec<_> = row.split_whitespace().collect();
        assert_eq!(shown[..2], cells[..2], "{row}");
        assert_eq!(shown[2..5], numbers, "{row}");
    }
    let ring = &segments[0]["ring"];
    assert_eq!(
        (&ring["fill_bytes"], &ring["records"]),
        (&40.into(), &2.into())
    );
    assert_eq!(ring["producer"]["incarnation"]["partition"], 1);
    assert_eq!(segments[2]["snapshot"]["bytes"], 300);
    assert_eq!(segments[3]["mutex"]["health"], "corrupt");
    assert_eq!(segments[5]["semaphore"]["held"][0]["permits"], 1);
    assert_eq!(segments[7]["barrier"]["parties"][0]["arrived"], 1);
    let line = &segments[8]["call_line"];
    assert_eq!((&line["asked"], &line["answered"]), (&8.into(), &7.into()));
}

#[test]
fn a_typed_ring_shows_its_unread_records_and_the_holders_of_its_ends() {
    let sample = Sample::new();
    let segment = sample.segment("ticks", Kind::TYPED_RING, TypedRing::<u64>::segment_len(16));
    let ring = TypedRing::<u64>::attach(segment).unwrap();
    let mut producer = ring.claim_producer(Incarnation::first(1)).unwrap();
    producer.push_slice(&[1, 2, 3]).unwrap();
    drop(
        ring.claim_consumer(Incarnation::first(2), OnRestart::Keep)
            .unwrap(),
    );
    std::mem::forget(producer);
    let (shown, _) = inspect(sample.dump());
    let cells = ["ticks", "3", "8", "1.1", "#1", "(2.1)", "#1", "0"];
    let is_row = |line: &str| line.split_whitespace().eq(cells);
    assert!(shown.lines().any(is_row), "{shown}");
    let json = json(sample.dump());
    assert_eq!(json["segments"][9]["kind"], "typed-ring");
    let ring = &json["segments"][9]["typed_ring"];
    assert_eq!((&ring["records"], &ring["tail"]), (&3.into(), &3.into()));
    let text = docs();
    let mut found = Vec::new();
    keys(ring, &mut found);
    let missing: Vec<_> = found
        .iter()
        .filter(|key| !text.contains(&format!("`{key}`")))
        .collect();
    assert!(missing.is_empty(), "{missing:?} are not in docs/inspect.md");
}

/// Collects all keys of a JSON value.
fn keys(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                found.push(key.clone());
                keys(value, found);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| keys(value, found)),
        _ => {}
    }
}

#[test]
fn the_documentation_lists_every_key_and_every_code() {
    let sample = Sample::new();
    drop(sample.attachment(3));
    sample.store(sample.row("jobs", 8), 1 << 31);
    let output = shmem(["inspect", "--json", "--records", "9", &sample.live()]);
    let mut words = Vec::new();
    keys(&serde_json::from_slice(&output.stdout).unwrap(), &mut words);
    let code = |word: &&str| {
        let letters = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase());
        word.split_once('.')
            .is_some_and(|(a, b)| letters(a) && letters(b))
    };
    for file in
        std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/inspection")).unwrap()
    {
        let source = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let codes = source.split('"').skip(1).step_by(2).filter(code);
        words.extend(codes.map(str::to_owned));
    }
    assert!(words.iter().any(|word| word == "row.extent"));
    let docs = docs();
    for word in words {
        let documented = [format!("`{word}`"), format!("`{word}[]`")];
        assert!(
            documented.iter().any(|word| docs.contains(word)),
            "{word} is not documented"
        );
    }
}

#[test]
fn unread_records_are_shown_with_escapes() {
    let sample = Sample::new();
    let ring = sample.segment("noise", Kind::RING, 512 + 1024);
    let ring = shmem_core::ring::Ring::attach(ring).unwrap();
    let mut producer = ring
        .claim_producer(shmem_core::Incarnation::first(1))
        .unwrap();
    producer.push(b"\x1b[2J\xff\"").unwrap();
    producer.push(&[b'a'; 100]).unwrap();
    let output = shmem(["inspect", "--records", "2", &sample.live()]);
    let shown = text(&output.stdout);
    let first = "noise                0       6  #1 to #0  \"\\x1b[2J\\xff\\\"\"\n";
    assert!(shown.contains(first), "{shown}");
    let second = format!(
        "noise               16     100  #1 to #0  \"{}\"...\n",
        "a".repeat(64)
    );
    assert!(shown.contains(&second), "{shown}");
    let (without, _) = inspect(sample.live());
    assert!(!without.contains("UNREAD"), "{without}");
}

#[test]
fn hostile_names_are_escaped_before_they_are_printed() {
    let sample = Sample::new();
    let row = sample.row("jobs", 32);
    for (at, word) in [(0, *b"\x1b[2J"), (4, *b"\n\x07\x9b\0")] {
        sample.store(row + at, u32::from_le_bytes(word));
    }
    for output in [
        shmem(["inspect", &sample.live()]),
        shmem(["inspect", "--json", &sample.live()]),
    ] {
        let shown = text(&output.stdout).replace(r"\\", r"\");
        assert!(shown.contains(r"\x1b[2J\x0a\x07\x9b"), "{shown}");
        assert!(
            !shown.contains(|c: char| c.is_control() && c != '\n'),
            "{shown:?}"
        );
    }
}

#[test]
fn names_that_are_not_utf_8_are_sound_and_differ_in_the_output() {
    let sample = Sample::new();
    let registry = sample.registry();
    for name in [&b"a\xff"[..], b"a\xfe", b"a", b"a\\xff"] {
        let request = Request::named(name, Kind::RAW, 100).unwrap();
        registry
            .open_or_create(Incarnation::first(1), &request)
            .unwrap();
    }
    let (shown, status) = inspect(sample.dump());
    assert_eq!((findings(&shown), status), (vec![], 0), "{shown}");
    let json = json(sample.dump());
    let names = json["segments"].as_array().unwrap().iter();
    let mut names: Vec<_> = names
        .filter_map(|segment| segment["name"].as_str())
        .collect();
    names.retain(|name| name.starts_with('a'));
    names.sort_unstable();
    assert_eq!(names, ["a", r"a\\xff", r"a\xfe", r"a\xff"]);
}

#[test]
fn the_output_shows_which_heartbeats_move() {
    let sample = Sample::new();
    let attachment = sample.attachment(3);
    let (shown, status) = std::thread::scope(|scope| {
        let inspecting = scope.spawn(|| inspect(sample.live()));
        while !inspecting.is_finished() {
            attachment.beat().unwrap();
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        inspecting.join().unwrap()
    });
    let row = |number| shown.lines().find(|line| line.starts_with(number)).unwrap();
    assert!(row("3 ").contains(" moves "), "{shown}");
    assert!(row("1 ").contains(" still "), "{shown}");
    let alive = format!("{} alive", std::process::id());
    assert!(row("3 ").ends_with(&alive), "{shown}");
    assert_eq!(status, 0, "{shown}");
}

#[test]
fn a_busy_region_is_sound() {
    let sample = Sample::new();
    let ring = sample.segment("busy", Kind::RING, 512 + 64);
    let ring = shmem_core::ring::Ring::attach(ring).unwrap();
    let incarnation = shmem_core::Incarnation::first(1);
    let mut producer = ring.claim_producer(incarnation).unwrap();
    let mut consumer = ring
        .claim_consumer(incarnation, shmem_core::ring::OnRestart::Keep)
        .unwrap();
    let short_lived = |n: u64| {
        let id = shmem_registry::Id::new(n % 5 + 1).unwrap();
        shmem_registry::Request::new(id, Kind::RAW, 500 * n as usize % 3000 + 1).unwrap()
    };
    let (shown, status) = std::thread::scope(|scope| {
        let inspecting = scope.spawn(|| {
            let reports = (0..5).map(|_| inspect(sample.live()));
            reports.max_by_key(|report| report.1).unwrap()
        });
        let mut record = [0x5a; 16];
        while !inspecting.is_finished() {
            for len in 0..16 {
                producer.push(&record[..len]).unwrap();
                consumer.pop(&mut record).unwrap();
            }
            let registry = sample.registry();
            let created =
                (0..9).filter_map(|n| registry.open_or_create(incarnation, &short_lived(n)).ok());
            let created: Vec<_> = created.collect();
            for segment in &created {
                let _ = registry.remove(incarnation, segment);
            }
        }
        inspecting.join().unwrap()
    });
    assert_eq!(status, 0, "{shown}");
}

#[test]
fn memory_of_a_process_and_posix_shared_memory_are_read() {
    let memory = Mapping::memfd("kmon-like", LEN).unwrap();
    let region = Region::format(memory.window()).unwrap();
    Registry::format(region, Geometry::default()).unwrap();
    let fd = memory.as_fd().as_raw_fd();
    let place = format!("pid:{}/{fd}", std::process::id());
    let (shown, status) = inspect(&place);
    assert_eq!(status, 0, "{shown}");
    assert!(
        shown.starts_with(&format!("region    {place}, live, 64.0 KiB\n")),
        "{shown}"
    );

    let name = format!("/shmem-inspect-{}", std::process::id());
    let memory = Mapping::posix_shm(&name, Some(LEN)).unwrap();
    Region::format(memory.window()).unwrap();
    let (shown, status) = inspect(format!("shm:{name}"));
    Mapping::unlink_posix_shm(&name).unwrap();
    assert_eq!(status, 0, "{shown}");
    assert!(shown.contains("\nregistry  none\n"), "{shown}");
}

#[test]
fn the_regions_of_a_process_are_found() {
    let sample = Sample::new();
    // A process whose standard input is the region, and whose other descriptors are not.
    let open = || std::fs::File::open(sample.file()).unwrap();
    let mut sleep = std::process::Command::new("sleep");
    let mut child = sleep.arg("1000").stdin(open()).spawn().unwrap();
    let (shown, status) = inspect(format!("pid:{}", child.id()));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(status, 0, "{shown}");
    assert!(
        shown.starts_with(&format!("region    pid:{}/0, live", child.id())),
        "{shown}"
    );

    let mut child = sleep.stdin(open()).stdout(open()).spawn().unwrap();
    let output = shmem(["inspect", &format!("pid:{}", child.id())]);
    child.kill().unwrap();
    child.wait().unwrap();
    let message = text(&output.stderr);
    let id = child.id();
    assert_eq!(
        message,
        format!("shmem: process {id} has several regions: give one of pid:{id}/0, pid:{id}/1\n")
    );
}

#[test]
fn a_region_inside_a_larger_dump_is_found_at_its_offset() {
    let sample = Sample::new();
    let path = sample.directory().join("bigger");
    let mut bytes = vec![0xaa; 4099];
    bytes.extend(std::fs::read(sample.file()).unwrap());
    bytes.extend([0xbb; 1000]);
    std::fs::write(&path, bytes).unwrap();
    let path = path.to_str().unwrap();
    let output = shmem(["inspect", "--offset", "4099", path]);
    let shown = text(&output.stdout);
    assert!(
        shown.starts_with(&format!("region    {path} at 0x1003, dump")),
        "{shown}"
    );
    assert_eq!(output.status.code(), Some(0), "{shown}");

    // Live memory at a multiple of 8, in the middle of a page.
    let live = sample.directory().join("live");
    let memory = Mapping::file(&live, Some(2 * LEN)).unwrap();
    Region::format(memory.window().sub(1032, LEN).unwrap()).unwrap();
    let place = format!("file:{}", live.display());
    let output = shmem(["inspect", "--offset", "1032", &place]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
}

#[test]
fn watch_inspects_repeatedly_and_ends_with_the_last_status() {
    let sample = Sample::new();
    let arguments = [
        "inspect",
        "--json",
        "--watch",
        "0.1",
        "-n",
        "3",
        &sample.live(),
    ];
    let output = shmem(arguments);
    let reports = text(&output.stdout);
    assert_eq!(reports.lines().count(), 3, "{reports}");
    for report in reports.lines() {
        let report: Value = serde_json::from_str(report).unwrap();
        assert_eq!(report["sound"], true);
    }
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_dump_equals_the_memory_and_does_not_overwrite_a_file() {
    let sample = Sample::new();
    let taken: PathBuf = sample.directory().join("taken");
    let taken = taken.to_str().unwrap();
    assert!(shmem(["dump", &sample.live(), taken]).status.success());
    let copy = std::fs::read(taken).unwrap();
    assert_eq!(copy, std::fs::read(sample.file()).unwrap());
    assert_eq!(inspect(taken).1, 0);

    let again = shmem(["dump", &sample.live(), taken]);
    assert_eq!(again.status.code(), Some(2));
    assert!(
        text(&again.stderr).starts_with("shmem: cannot create "),
        "{again:?}"
    );
}

#[test]
fn an_inspection_does_not_change_the_memory() {
    let sample = Sample::new();
    let before = std::fs::read(sample.file()).unwrap();
    inspect(sample.live());
    assert_eq!(std::fs::read(sample.file()).unwrap(), before);
    // The memory need not be writable.
    let mut permissions = std::fs::metadata(sample.file()).unwrap().permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(sample.file(), permissions).unwrap();
    assert_eq!(inspect(sample.live()).1, 0);
}
