//! Each kind of damage has its own line, and exit status 1.

mod common;

use common::{LEN, Sample, findings, inspect};
use shmem_core::Incarnation;
use shmem_registry::Id;

// Words of the region, as `docs/layout.md` gives them.
const MAGIC: usize = 0;
const VERSION: usize = 4;
const FEATURES: usize = 8;
const LENGTH: usize = 16;
const GEOMETRY: usize = 128;
const SLOT_2: usize = 256 + 128;
// Words of a row.
const OWNER: usize = 0;
const STATE: usize = 4;
const NEXT: usize = 8;
const KIND: usize = 12;
const ID: usize = 16;
const FIRST_BLOCK: usize = 24;
const ROW_LENGTH: usize = 28;

/// Returns all findings in the sample after `damage`.
fn found(damage: impl FnOnce(&Sample)) -> Vec<String> {
    let sample = Sample::new();
    damage(&sample);
    let (dumped, status) = inspect(sample.dump());
    let found: Vec<String> = findings(&dumped).into_iter().map(str::to_owned).collect();
    assert_eq!(status, 1, "{dumped}");
    // Findings in use and in a dump are the same.
    let (live, status) = inspect(sample.live());
    assert_eq!((findings(&live), status), (findings(&dumped), 1), "{live}");
    found
}

/// Returns the word of an incarnation.
fn incarnation(partition: u8, number: u32) -> u32 {
    Incarnation::new(partition, number).unwrap().word()
}

/// Returns the offset of a block's word in the map.
fn map(sample: &Sample, block: usize) -> usize {
    sample.registry().tables().map + block * 4
}

/// Returns the offset of the head of the chain with this name.
fn bucket(sample: &Sample, name: &str) -> usize {
    let registry = sample.registry();
    registry.tables().index + registry.bucket_of(Id::from_name(name).get()) * 4
}

/// Returns the findings after a store into the segment with this name.
fn inside(name: &str, at: usize, value: u32) -> Vec<String> {
    found(|sample| sample.store(sample.offset(name) + at, value))
}

/// Returns the findings after a store into the row with this name.
fn in_row(name: &str, word: usize, value: u32) -> Vec<String> {
    found(|sample| sample.store(sample.row(name, word), value))
}

#[test]
fn a_finding_about_the_header_shows_its_value() {
    let header = |at, value| found(|sample| sample.store(at, value));
    assert_eq!(
        header(MAGIC, 0x1234),
        ["damaged: header: the first word is 0x00001234, not the magic 0x524d4853"]
    );
    assert_eq!(
        header(MAGIC, 0),
        [
            "damaged: header: the first word is 0: the memory was never formatted, or formatting \
          did not finish"
        ]
    );
    let known = shmem_core::layout::VERSION;
    assert_eq!(
        header(VERSION, 7),
        [format!(
            "damaged: header: layout version 7 is unknown; this program knows {known}"
        )]
    );
    assert_eq!(
        header(FEATURES, 6),
        ["damaged: header: features 0x6 are unknown: the rest may be misread"]
    );
    assert_eq!(
        header(LENGTH, 100),
        ["damaged: header: a region cannot have 100 bytes: 65536 are assumed"]
    );
    assert_eq!(
        header(GEOMETRY, 100),
        ["damaged: registry: its geometry 0x64 is invalid"]
    );
}

#[test]
fn the_rest_is_shown_after_a_damaged_header() {
    for (at, value) in [(MAGIC, 0), (FEATURES, 1 << 31), (LENGTH, 12)] {
        let sample = Sample::new();
        sample.store(at, value);
        for (text, _) in [inspect(sample.dump()), inspect(sample.live())] {
            assert!(text.contains("\nkmon.stats    snapshot"), "{text}");
            assert!(text.contains("\nkmon.command        40/1024"), "{text}");
        }
    }
    // Not with another layout version, whose layout is unknown.
    let sample = Sample::new();
    sample.store(VERSION, 7);
    let (text, _) = inspect(sample.dump());
    let header = "header    magic 0x524d4853, version 7, features 0x0, generation 1, 65536 bytes";
    assert!(text.contains(header), "{text}");
    assert!(text.contains("registry  none"), "{text}");
}

#[test]
fn the_available_part_of_a_dump_that_was_cut_off_is_shown() {
    let sample = Sample::new();
    let cut = |len: usize| {
        let path = sample.dump();
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(len as u64).unwrap();
        let (text, status) = inspect(&path);
        assert_eq!(status, 1, "{len}: {text}");
        let found: Vec<String> = findings(&text).into_iter().map(str::to_owned).collect();
        (text, found)
    };
    // All segments are available; the file ends at an odd offset after them.
    let (text, found) = cut(LEN - 1001);
    let header = "damaged: header: cut off: 64535 of the region's 65536 bytes are available";
    assert_eq!(found, [header]);
    assert!(text.contains("399 of 478 blocks free"), "{text}");

    let (text, found) = cut(12_000);
    let row = |row| format!("damaged: row {row}: cut off: some of its bytes are missing");
    let cut_off = [
        "4 (bus)",
        "5 (pool)",
        "6 (map)",
        "7 (start)",
        "8 (demo.call)",
    ]
    .map(row);
    assert_eq!(found[1..], cut_off);
    assert!(text.contains("jobs  mutex  held by 1.1\n"), "{text}");
    assert!(text.contains("\nstart         barrier     13952"), "{text}");

    // In the middle of the rows.
    let (text, found) = cut(1408 + 3 * 64 + 5);
    let tables = "damaged: registry: ends inside the tables: rows are missing";
    assert_eq!(found[1], tables);
    assert!(text.contains("\nkmon.stats    snapshot"), "{text}");
    assert!(!text.contains("jobs"), "{text}");

    for len in [300, 256, 200, 100, 24] {
        let (text, _) = cut(len);
        assert!(text.contains("generation 1, 65536 bytes"), "{text}");
    }
    let (_, found) = cut(23);
    assert_eq!(
        found,
        ["damaged: header: 23 bytes are too few for a header"]
    );
}

#[test]
fn a_file_longer_than_its_region_is_sound() {
    let sample = Sample::new();
    let path = sample.dump();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(10 * LEN as u64 + 3).unwrap();
    let (text, status) = inspect(&path);
    assert_eq!(status, 0, "{text}");
    assert!(text.ends_with("\nsound\n"), "{text}");
}

#[test]
fn a_slot_without_an_incarnation_of_its_partition_is_damaged() {
    for value in [100, incarnation(3, 1)] {
        let lines = found(|sample| sample.store(SLOT_2, value));
        let line =
            format!("damaged: partition 2: its slot holds {value:#010x}, not an incarnation of it");
        assert_eq!(lines, [line]);
    }
}

#[test]
fn a_finding_about_a_row_names_the_wrong_value() {
    assert_eq!(
        in_row("jobs", OWNER, 5),
        ["damaged: row 3 (jobs): its owner is 0x00000005, not an incarnation"]
    );
    assert_eq!(
        in_row("jobs", STATE, 0),
        ["damaged: blocks 57 to 58: belong to row 3, which is free: the blocks are leaked",]
    );
    assert_eq!(
        in_row("jobs", KIND, 99),
        ["damaged: row 3 (jobs): kind 0x63 is unknown"]
    );
    assert_eq!(
        in_row("jobs", ID, 99),
        [
            "damaged: row 3: is in bucket 27, where lookups of 0x41b90dde00000063 do not search",
            "damaged: row 3 (jobs): its identifier 0x41b90dde00000063 does not match its name",
        ]
    );
    assert_eq!(
        in_row("jobs", FIRST_BLOCK, 9999),
        [
            "damaged: row 3 (jobs): 192 bytes from block 9999 are not inside the region's 478 blocks",
            "damaged: blocks 57 to 58: belong to row 3, whose segment is elsewhere",
        ]
    );
    assert_eq!(
        in_row("jobs", ROW_LENGTH, 99_999),
        [
            "damaged: row 3 (jobs): 99999 bytes from block 57 are not inside the region's 478 blocks",
            "damaged: row 3 (jobs): its block 59 belongs to row 4",
        ]
    );
}

#[test]
fn a_chain_that_loses_its_rows_is_damaged() {
    let unlinked = |row| format!("damaged: row {row}: in no chain: lookups do not find it");
    let both = [unlinked("2 (kmon.stats)"), unlinked("3 (jobs)")];
    assert_eq!(
        found(|sample| sample.store(bucket(sample, "jobs"), 0)),
        both
    );

    let lines = found(|sample| sample.store(bucket(sample, "jobs"), 0x7fff_ffff));
    let broken = "damaged: bucket 27: its chain is broken: link 0x7fffffff";
    assert_eq!(lines[0], broken);
    assert_eq!(lines[1..], both);

    let lines = found(|sample| {
        let other = sample.load(bucket(sample, "pool"));
        sample.store(bucket(sample, "jobs"), other);
    });
    let joined = "damaged: bucket 27: its chain leads to row 5, which is in the chain of bucket 25";
    assert_eq!(lines[0], joined);
    assert_eq!(lines[1..], both);

    assert_eq!(
        in_row("jobs", STATE, 3)[0],
        "damaged: row 3 (jobs): in no chain: lookups do not find it"
    );
    assert_eq!(
        in_row("jobs", NEXT, 4),
        ["damaged: bucket 27: its chain is circular from row 3"]
    );
}

#[test]
fn two_rows_with_the_same_identifier_are_damaged() {
    let lines = found(|sample| {
        for word in [ID, ID + 4] {
            let value = sample.load(sample.row("jobs", word));
            sample.store(sample.row("kmon.stats", word), value);
        }
    });
    assert_eq!(
        lines,
        [
            "damaged: row 3: has the same identifier as row 2: 0x41b90dde29446fdd",
            "damaged: row 2 (kmon.stats): its identifier 0x41b90dde29446fdd does not match its name",
        ]
    );
}

#[test]
fn blocks_with_a_wrong_owner_are_damaged() {
    let blocks = |blocks: std::ops::Range<usize>, owner: u32| {
        found(|sample| {
            for block in blocks {
                sample.store(map(sample, block), owner);
            }
        })
    };
    assert_eq!(
        blocks(100..101, 900),
        ["damaged: block 100: belongs to row 899, which does not exist"]
    );
    assert_eq!(
        blocks(100..102, 12),
        ["damaged: blocks 100 to 101: belong to row 11, which is free: the blocks are leaked"]
    );
    assert_eq!(
        blocks(100..101, 1),
        ["damaged: block 100: belongs to row 0, whose segment is elsewhere"]
    );
    assert_eq!(
        blocks(2..3, 0),
        ["damaged: row 0 (kmon.command): its block 2 is free"]
    );
}

#[test]
fn two_segments_that_overlap_are_damaged() {
    let lines = in_row("kmon.stats", FIRST_BLOCK, 2);
    let wanted = "damaged: row 2 (kmon.stats): its block 2 belongs to row 0";
    assert!(lines.iter().any(|line| line == wanted), "{lines:?}");
}

#[test]
fn a_finding_about_a_ring_names_the_wrong_word() {
    let ring = |at, value| inside("kmon.command", at, value);
    let row = "damaged: row 0 (kmon.command): its";
    let line = |what| vec![format!("{row} {what}")];
    assert_eq!(
        ring(512 + 16, 6),
        line("record header 0x6 is invalid: position 0x10, 0 sound records before it")
    );
    assert_eq!(
        ring(512 + 40, 0xffff),
        line("record header 0xffff is invalid: position 0x28, 1 sound record before it")
    );
    assert_eq!(
        ring(128, 3),
        line("head 0x3 is invalid: position 0x38, 2 sound records before it")
    );
    assert_eq!(
        ring(192, 3),
        line("position 0x3 is invalid: position 0x38, 3 sound records before it")
    );
    assert_eq!(
        ring(0, 800),
        line("tail 0x320 is not where its records end, 0x38")
    );
    assert_eq!(
        ring(4, 99),
        line("producing end is claimed by 0x00000063, not an incarnation")
    );
    assert_eq!(
        ring(8, 0x1_0001),
        ["damaged: row 0 (kmon.command): the epoch of its consuming end is 0x10001"]
    );
    assert_eq!(
        ring(256, 2),
        ["damaged: row 0 (kmon.command): one of its doorbells is armed with 0x2, not 0 or 1"]
    );
    assert_eq!(
        in_row("jobs", KIND, 1),
        [
            "damaged: row 3 (jobs): a segment of 192 bytes is not a ring: \
             its length must be 512 bytes plus a power of two from 64 to 1073741824"
        ]
    );
}

#[test]
fn a_finding_about_a_snapshot_shows_its_length() {
    assert_eq!(
        inside("kmon.stats", 128 + 512, 0x1000),
        ["damaged: row 2 (kmon.stats): its value has 0x1000 bytes, which is too long"]
    );
}

#[test]
fn a_finding_about_a_lock_names_the_wrong_word() {
    let jobs = "damaged: row 3 (jobs):";
    let line = |row, what| vec![format!("{row} {what}")];
    assert_eq!(
        inside("jobs", 0, 5),
        line(jobs, "held by 0x00000005, not an incarnation")
    );
    assert_eq!(inside("jobs", 4, 5), line(jobs, "its health is 0x5"));

    let bus = "damaged: row 4 (bus):";
    assert_eq!(inside("bus", 8, 2), line(bus, "its colour is 0x2"));
    assert_eq!(
        inside("bus", 128, incarnation(2, 1)),
        line(bus, "partition 1's entry contains 0x00000102")
    );

    let pool = "damaged: row 5 (pool):";
    assert_eq!(inside("pool", 128, 5), line(pool, "permit 0 is 0x00000005"));

    let map = "damaged: row 6 (map):";
    assert_eq!(
        inside("map", 128, 5),
        line(map, "read by 0x00000005, not an incarnation")
    );

    let start = "damaged: row 7 (start):";
    assert_eq!(
        inside("start", 128, 5),
        line(start, "partition 1's entry holds 0x00000005")
    );
    assert_eq!(
        inside("start", 128, 0),
        line(start, "partition 1 has arrived without an incarnation")
    );
}
