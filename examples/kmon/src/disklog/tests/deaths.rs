//! What is left when KMON dies or the disk is full, between any two changes on the disk.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::disklog::disk::faults::{self, Fault, Killed};

/// Prints several things, some of which complete files.
fn print_all(case: &mut Case, all: &mut Vec<u8>) {
    let long = "long ".repeat(30);
    for (step, text) in [
        "one\r\ntwo\n",
        "\x1b[1mthree",
        " and more\n",
        &long,
        "\n\n\r\n",
        "end",
    ]
    .iter()
    .cycle()
    .take(60)
    .enumerate()
    {
        let text = format!("{step}{text}");
        case.ring.print(text.as_bytes());
        all.extend_from_slice(text.as_bytes());
        case.millis += 700;
        // An error is repeated at the next step.
        let _ = case.write();
        for _ in 0..2 {
            case.log.compress();
        }
    }
}

/// Runs a case with `fault` after each number of changes that the case makes.
fn at_each_change(fault: Fault, bound: (u64, u64, bool), check: impl Fn(&mut Case, Vec<u8>, u64)) {
    for at in 0.. {
        let mut case = Case::new(bound.0, bound.1, bound.2);
        let mut all = Vec::new();
        faults::request(at, fault);
        let ended = catch_unwind(AssertUnwindSafe(|| print_all(&mut case, &mut all)));
        let is_over = faults::withdraw();
        if let Err(panic) = ended {
            assert!(panic.is::<Killed>());
        }
        case.assert_bound();
        check(&mut case, all, at);
        if is_over {
            assert!(at > 30, "{at} changes");
            return;
        }
    }
}

#[test]
fn whenever_kmon_dies_the_next_kmon_writes_each_byte_once() {
    for bound in [
        (700, 100, false),
        (700, 100, true),
        (700, 3, false),
        (700, 4, true),
    ] {
        at_each_change(Fault::Death, bound, |case, mut all, at| {
            // What was printed while no KMON ran.
            case.ring.print(b"meanwhile\n");
            all.extend_from_slice(b"meanwhile\n");
            case.restart();
            case.millis += 5000;
            case.finish();
            case.compress_all();
            case.assert_bound();
            let missing = assert_exact(&case.all(Query::default()), &all);
            assert!(bound.1 < 100 || missing == 0, "death at {at}: {missing}");
            let parts = case
                .files()
                .into_iter()
                .filter(|(name, _)| name.ends_with(".part"));
            assert_eq!(parts.count(), 0);
        });
    }
}

#[test]
fn two_deaths_in_a_row_lose_nothing_either() {
    at_each_change(Fault::Death, (700, 100, false), |case, all, at| {
        for again in 0..4 {
            case.restart();
            faults::request(again, Fault::Death);
            let _ = catch_unwind(AssertUnwindSafe(|| case.finish()));
            faults::withdraw();
        }
        case.restart();
        case.finish();
        let missing = assert_exact(&case.all(Query::default()), &all);
        assert_eq!(missing, 0, "death at {at}");
    });
}

#[test]
fn after_a_full_disk_the_log_continues_exactly() {
    for compress in [false, true] {
        at_each_change(Fault::Full, (700, 100, compress), |case, all, at| {
            case.finish();
            let missing = assert_exact(&case.all(Query::default()), &all);
            assert_eq!(missing, 0, "full at {at}");
        });
    }
}

#[test]
fn what_was_overwritten_while_the_disk_was_full_is_counted() {
    let mut case = Case::new(1 << 20, 4, false);
    case.print("before\n");
    faults::request(0, Fault::Full);
    for _ in 0..3 {
        case.millis += 10_000;
        let line = [&[b'x'; 599][..], b"\n"].concat();
        case.ring.print(&line.repeat(1000));
        assert!(case.write().is_err());
    }
    case.ring.print(b"after\n");
    faults::withdraw();
    case.finish();
    let entries = case.all(Query::default());
    let texts = texts(&entries);
    assert_eq!(
        (&*texts[0], texts.last().unwrap().as_str()),
        ("before", "after")
    );
    let missed = texts.iter().filter_map(|text| text.strip_prefix("missed "));
    let missed: Vec<u64> = missed.map(|count| count.parse().unwrap()).collect();
    assert!(
        missed.len() == 1 && (600_000..=751_430).contains(&missed[0]),
        "{missed:?}"
    );
    let follows = |pair: &[Entry]| pair[0].end == pair[1].position;
    assert!(entries.windows(2).all(follows));
    assert_eq!(entries.last().unwrap().end, 7 + 1_800_000 + 6);
    // The lines have the times at which they were printed.
    let mut times = entries.iter().map(|entry| entry.time);
    assert!(entries.is_sorted_by_key(|entry| entry.time));
    assert!(times.any(|time| time > Stamp::from_millis(NOON) && time < case.now()));
}

#[test]
fn a_torn_last_line_is_removed_and_written_again() {
    let mut case = Case::new(1 << 20, 4, false);
    case.print("one\ntwo\n");
    let whole = case.current();
    for cut in 1..whole.len() {
        for (file, _) in case.files() {
            fs::remove_file(case.path().join(file)).unwrap();
        }
        fs::write(case.path().join("2.log"), &whole[..cut]).unwrap();
        case.restart();
        case.finish();
        assert_eq!(
            texts(&case.all(Query::default())),
            ["one", "two"],
            "cut at {cut}"
        );
    }
}

#[test]
fn a_file_that_was_changed_by_others_is_marked_and_kept() {
    let mut case = Case::new(1 << 20, 4, false);
    case.print("one\n");
    let file = case.path().join("2.log");
    fs::write(&file, case.current() + "an editor was here\n").unwrap();
    case.restart();
    case.print("two\n");
    let text = case.current();
    assert!(text.contains("an editor was here\n") && text.contains(" # damaged above"));
    assert_eq!(texts(&case.all(Query::default())), ["one", "two"]);
    fs::write(&file, "nothing that KMON writes\n").unwrap();
    case.restart();
    case.print("three\n");
    // What is still kept is written again.
    assert_eq!(texts(&case.all(Query::default())), ["one", "two", "three"]);
    assert!(case.path().join("2.log.000001").exists());
}

#[test]
fn a_file_that_was_moved_or_removed_is_made_again_without_repeating_output() {
    let mut case = Case::new(1 << 20, 4, false);
    case.print("one\n");
    let file = case.path().join("2.log");
    fs::rename(&file, case.path().join("elsewhere")).unwrap();
    case.print("two\n");
    assert_eq!(texts(&case.all(Query::default())), ["two"]);
    fs::remove_dir_all(case.path()).unwrap();
    case.print("three\n");
    assert_eq!(texts(&case.all(Query::default())), ["three"]);
}

#[test]
fn a_link_in_place_of_a_file_is_not_followed() {
    let mut case = Case::new(1 << 20, 4, false);
    let target = case.path().join("precious");
    fs::write(&target, "precious\n").unwrap();
    std::os::unix::fs::symlink(&target, case.path().join("2.log")).unwrap();
    case.ring.print(b"x\n");
    assert!(case.write().is_err());
    assert_eq!(fs::read_to_string(target).unwrap(), "precious\n");
}
