//! How much a log keeps.

use std::fs;
use std::process::Command;

use super::*;

/// Returns `len` bytes of output: lines of many lengths, also of bytes that are no text.
fn output(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let word = (state >> 33) as u32;
        match word % 16 {
            0 => bytes.extend_from_slice(&word.to_le_bytes()),
            1 => bytes.extend_from_slice(b"\r\n"),
            2 => bytes.extend_from_slice(&[b'x'; 300]),
            3 if word % 1024 < 16 => bytes.extend_from_slice(&[b'y'; 20_000]),
            _ => bytes.extend_from_slice(b"some words and \xc3\xbc; "),
        }
    }
    bytes.truncate(len);
    bytes
}

#[test]
fn a_gigabyte_of_output_stays_within_the_bound() {
    for (compress, gigabytes) in [(false, 1), (true, 0)] {
        let mut case = Case::new(1 << 20, 4, compress);
        // With compression less is enough: each file is compressed as soon as it is complete.
        let steps = if gigabytes == 1 { 4096 } else { 256 };
        let block = output(7, 256 * 1024);
        for step in 0..steps {
            case.millis += 1;
            case.ring.print(&block);
            case.write().unwrap();
            case.assert_bound();
            if compress && step % 3 == 0 {
                for _ in 0..7 {
                    case.log.compress();
                    case.assert_bound();
                }
            }
        }
        case.finish();
        let entries = case.all(Query::default());
        let all = block.len() * steps;
        assert_eq!(entries.last().unwrap().end, all as u64);
        // Nothing is missing in between: each entry follows the one before.
        let follows = |pair: &[Entry]| pair[0].end == pair[1].position;
        assert!(entries.windows(2).all(follows));
    }
}

#[test]
fn output_that_does_not_compress_keeps_its_bound_and_stays_readable() {
    let mut case = Case::new(4096, 3, true);
    let mut all = Vec::new();
    let mut state = 1_u64;
    for _ in 0..400 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        // Letters that are random, so a line is hardly shorter when it is compressed.
        let line: String = (0..60)
            .map(|at| char::from_u32(0x4e00 + ((state >> (at % 40)) as u32 & 0x3fff)).unwrap())
            .collect();
        all.extend_from_slice(line.as_bytes());
        all.push(b'\n');
        case.millis += 1;
        case.print(&format!("{line}\n"));
        case.assert_bound();
        case.log.compress();
        case.assert_bound();
    }
    assert!(assert_exact(&case.all(Query::default()), &all) > 0);
}

#[test]
fn a_compressed_log_is_the_same_log_and_other_programs_read_it() {
    let mut case = Case::new(2048, 20, true);
    let mut all = String::new();
    for line in 0..300 {
        case.millis += 10;
        all += &format!("line {line} of the output\r\n");
        case.print(&format!("line {line} of the output\r\n"));
    }
    let before = case.all(Query::default());
    let plain = case.files();
    case.compress_all();
    let compressed = case.files();
    let names = compressed.iter().filter(|(name, _)| name.ends_with(".gz"));
    assert_eq!(names.count(), plain.len() - 1, "{compressed:?}");
    assert_eq!(case.all(Query::default()), before);
    assert_exact(&before, all.as_bytes());
    let mut zcat = Command::new("sh");
    zcat.args(["-c", "zcat -f 2.log.* 2.log"])
        .current_dir(case.path());
    let text = String::from_utf8(zcat.output().unwrap().stdout).unwrap();
    let lines: Vec<_> = text.lines().filter(|line| line.contains(" | ")).collect();
    assert_eq!(lines.len(), 300);
    assert!(lines.is_sorted(), "by their times");
    assert!(lines[299].ends_with(" | line 299 of the output"));
}

#[test]
fn a_smaller_bound_applies_to_the_files_of_a_larger_one() {
    let mut case = Case::new(1 << 20, 8, false);
    let mut all = Vec::new();
    for _ in 0..30 {
        let block = output(3, 200 * 1024);
        case.ring.print(&block);
        case.write().unwrap();
        all.extend_from_slice(&block);
    }
    for (size, count, compress) in [
        (1 << 20, 3, true),
        (64 << 10, 3, false),
        (64 << 10, 2, false),
    ] {
        case.bound = Bound {
            size,
            count,
            compress,
        };
        case.restart();
        case.finish();
        case.print("more\n");
        all.extend_from_slice(b"more\n");
        case.assert_bound();
        case.compress_all();
        case.assert_bound();
    }
    case.finish();
    assert!(case.all(Query::default()).last().unwrap().end >= all.len() as u64);
}

#[test]
fn files_of_others_are_left_alone() {
    let mut case = Case::new(1024, 2, false);
    for name in ["2.log.old", "3.log", "2.log.1"] {
        fs::write(case.path().join(name), "mine").unwrap();
    }
    for _ in 0..100 {
        case.print(&format!("{}\n", "x".repeat(100)));
    }
    let names: Vec<_> = case.files().into_iter().map(|(name, _)| name).collect();
    for name in ["2.log.old", "3.log", "2.log.1"] {
        assert!(names.iter().any(|there| there == name), "{names:?}");
    }
}
