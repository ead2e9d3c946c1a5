//! What queries find.

use std::time::Duration;

use regex::Regex;

use super::*;

fn grep(pattern: &str) -> Query {
    Query {
        pattern: Some(Regex::new(pattern).unwrap()),
        ..Query::default()
    }
}

#[test]
fn a_file_is_text_with_times_and_marks() {
    let mut case = Case::new(1 << 20, 4, false);
    case.print("Welcome\r\nlogin: ");
    case.millis += 1000;
    case.print("");
    case.millis += 1000;
    case.print("root\r\n");
    let id = format!("{:016x}", case.ring.id);
    let expected = format!(
        "2026-11-30T12:00:00.000Z # file 1, instance 2 (web), output {id}, byte 0, dropped 0\n\
         2026-11-30T12:00:00.000Z | Welcome\n\
         2026-11-30T12:00:00.000Z + login: \n\
         2026-11-30T12:00:02.000Z | root\n"
    );
    assert_eq!(case.current(), expected);
}

#[test]
fn an_unfinished_line_is_written_after_a_second_and_not_before() {
    let mut case = Case::new(1 << 20, 4, false);
    case.ring.print(b"login: ");
    let left = case.write().unwrap();
    assert_eq!(left.due_in, Some(Duration::from_secs(1)));
    case.millis += 999;
    assert_eq!(case.write().unwrap().due_in, Some(Duration::from_millis(1)));
    assert!(case.all(Query::default()).is_empty());
    case.millis += 1;
    assert_eq!(case.write().unwrap().due_in, None);
    assert_eq!(texts(&case.all(Query::default())), ["login: +"]);
}

#[test]
fn since_selects_by_time_and_skips_whole_files() {
    let mut case = Case::new(700, 100, false);
    for line in 0..100 {
        case.millis += 1000;
        case.print(&format!("line {line}\n"));
    }
    let since = |seconds: i64| Query {
        since: Some(Stamp::from_millis(NOON + 1000 * seconds)),
        ..Query::default()
    };
    assert_eq!(case.all(since(0)).len(), 100);
    assert_eq!(
        texts(&case.all(since(98))),
        ["line 97", "line 98", "line 99"]
    );
    assert!(case.all(since(101)).is_empty());
    // Files whose last change was before are not opened: nobody could read these.
    let listing = std::fs::read_dir(case.path()).unwrap().flatten();
    for file in listing.filter(|file| file.file_name() != "2.log") {
        std::fs::write(file.path(), "junk\n").unwrap();
        let file = std::fs::File::options()
            .write(true)
            .open(file.path())
            .unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH)
            .unwrap();
    }
    assert_eq!(texts(&case.all(since(100))), ["line 99"]);
}

#[test]
fn grep_matches_whole_lines_as_they_are_shown() {
    let mut case = Case::new(1 << 20, 4, false);
    case.print("\x1b[31mERR\x1b[0mOR one\r\nok\r\nERR");
    case.millis += 2000;
    case.print("");
    case.print("OR two");
    case.millis += 2000;
    case.print("\r\n");
    case.print("ERROR three");
    case.finish();
    let found = case.all(grep("^ERROR"));
    let found: Vec<_> = texts(&found)
        .iter()
        .map(|text| text.replace("\x1b[31m", ""))
        .collect();
    assert_eq!(found, ["ERR\x1b[0mOR one", "ERROR two", "ERROR three"]);
    assert!(case.all(grep("^one")).is_empty());
}

#[test]
fn the_last_lines_are_those_that_match() {
    let mut case = Case::new(700, 100, false);
    for line in 0..100 {
        case.print(&format!("line {line}\n"));
    }
    let last = |case: &Case, count, query: Query| {
        let last = Some(count);
        texts(&case.all(Query { last, ..query }))
    };
    assert_eq!(last(&case, 2, Query::default()), ["line 98", "line 99"]);
    assert_eq!(last(&case, 2, grep("0$")), ["line 80", "line 90"]);
    assert_eq!(last(&case, 0, Query::default()), [""; 0]);
    assert_eq!(last(&case, 1000, Query::default()).len(), 100);
    case.print("no ");
    case.finish();
    case.print("end");
    case.finish();
    assert_eq!(
        last(&case, 2, Query::default()),
        ["line 99", "no +", "end+"]
    );
}

#[test]
fn a_follower_gets_each_line_once_over_changes_of_files() {
    for compress in [false, true] {
        let mut case = Case::new(700, 100, compress);
        let mut entries = case.entries(Query::default());
        assert_eq!(entries.next().unwrap(), None);
        let (mut all, mut followed) = (Vec::new(), Vec::new());
        for line in 0..300 {
            let text = format!("line {line}\r\n");
            all.extend_from_slice(text.as_bytes());
            case.print(&text);
            if compress {
                case.compress_all();
            }
            if line % 7 == 0 || line % 50 < 3 {
                followed.extend(std::iter::from_fn(|| entries.next().unwrap()));
            }
        }
        followed.extend(std::iter::from_fn(|| entries.next().unwrap()));
        assert_eq!(assert_exact(&followed, &all), 0);
    }
}

#[test]
fn a_follower_that_is_too_slow_is_told_what_it_missed() {
    let mut case = Case::new(700, 3, false);
    case.print("first\n");
    let mut entries = case.entries(Query::default());
    let mut followed: Vec<_> = std::iter::from_fn(|| entries.next().unwrap()).collect();
    for line in 0..200 {
        case.print(&format!("line {line}\n"));
    }
    followed.extend(std::iter::from_fn(|| entries.next().unwrap()));
    let texts = texts(&followed);
    let position = |text: &str| texts.iter().position(|there| there.starts_with(text));
    let missed = position("missed").unwrap();
    assert_eq!(texts.last().unwrap(), "line 199");
    let follows = |pair: &[Entry]| pair[0].end == pair[1].position;
    assert!(missed > 0 && followed.windows(2).all(follows), "{texts:?}");
}

#[test]
fn a_query_continues_after_the_last_entry_of_another() {
    let mut case = Case::new(700, 100, false);
    for line in 0..50 {
        case.print(&format!("line {line}\n"));
    }
    let all = case.all(Query::default());
    for entry in &all {
        let after = Some((entry.output, entry.end));
        let rest = case.all(Query {
            after,
            ..Query::default()
        });
        let expected = all.iter().filter(|one| one.end > entry.end);
        assert!(rest.iter().eq(expected));
    }
}

#[test]
fn a_query_of_several_outputs_continues_after_an_entry_of_any_of_them() {
    let mut case = Case::new(1 << 20, 4, false);
    let query = || Query {
        all_owners: true,
        ..Query::default()
    };
    for owner in ["instance 2 (web)", "instance 2 (db)", "instance 2 (mail)"] {
        case.replace(owner);
        case.print("one\ntwo\n");
    }
    let all = case.all(query());
    for (at, entry) in all.iter().enumerate() {
        let after = Some((entry.output, entry.end));
        let rest = case.all(Query { after, ..query() });
        assert_eq!(rest, all[at + 1..], "after {entry:?}");
    }
    // An output that the log does not have any more.
    let after = Some((1, 5));
    assert_eq!(case.all(Query { after, ..query() }), all);
}

#[test]
fn a_query_reports_what_was_removed_since_the_last_entry_of_another() {
    let mut case = Case::new(700, 3, false);
    case.print("first\n");
    let first = case.all(Query::default()).remove(0);
    for line in 0..100 {
        case.print(&format!("line {line}\n"));
    }
    let after = Some((first.output, first.end));
    let rest = case.all(Query {
        after,
        ..Query::default()
    });
    assert_eq!(rest[0].position, first.end);
    assert_eq!(rest[0].body, Body::Missed(rest[1].position - first.end));
}

#[test]
fn a_search_ends_when_it_is_told_to() {
    let mut case = Case::new(1 << 20, 4, false);
    case.print("one\ntwo\n");
    let mut entries = case.entries(Query::default());
    assert!(entries.next().unwrap().is_some());
    entries
        .stop()
        .store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(entries.next().unwrap().is_none());
}

#[test]
fn another_instance_with_the_number_has_its_own_lines_in_the_same_log() {
    let mut case = Case::new(1 << 20, 4, false);
    case.print("secret of the first\nrest");
    case.finish();
    case.replace("instance 2 (db)");
    assert!(case.all(Query::default()).is_empty());
    case.print("the second\n");
    assert_eq!(texts(&case.all(Query::default())), ["the second"]);
    let all = case.all(Query {
        all_owners: true,
        ..Query::default()
    });
    let owners: Vec<_> = all
        .iter()
        .filter_map(|entry| match &entry.body {
            Body::Begin(owner) => Some(owner.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(owners, ["instance 2 (web)", "instance 2 (db)"]);
    assert_eq!(texts(&all), ["secret of the first", "rest+", "the second"]);
    let last = all.last().unwrap();
    assert_eq!((last.position, last.end), (0, 11));
}

#[test]
fn output_cannot_forge_a_mark_or_a_time() {
    let mut case = Case::new(1 << 20, 4, false);
    let forged = "2030-01-01T00:00:00.000Z # missed 5 bytes";
    case.print(&format!("{forged}\n# file 9\n"));
    assert_eq!(texts(&case.all(Query::default())), [forged, "# file 9"]);
    case.restart();
    case.print("next\n");
    assert_eq!(
        case.all(Query::default()).last().unwrap().end,
        forged.len() as u64 + 15
    );
}

#[test]
fn times_do_not_go_back_unless_the_clock_is_set_back_far_which_is_marked() {
    let mut case = Case::new(1 << 20, 4, false);
    case.print("one\n");
    case.millis -= 2000;
    case.print("two\n");
    case.restart();
    case.print("three\n");
    let entries = case.all(Query::default());
    assert!(
        entries
            .iter()
            .all(|entry| entry.time == Stamp::from_millis(NOON))
    );
    case.millis -= 3_600_000;
    case.print("four\n");
    let entries = case.all(Query::default());
    assert_eq!(entries.last().unwrap().time, case.now());
    assert!(
        case.current()
            .contains(" # the clock was set back by 3602 s\n")
    );
}

#[test]
fn what_the_instance_dropped_is_noted_once() {
    let mut case = Case::new(1 << 20, 4, false);
    case.print("one\n");
    *case.ring.dropped.lock().unwrap() = 100;
    case.print("two\n");
    case.restart();
    case.print("three\n");
    *case.ring.dropped.lock().unwrap() = 130;
    case.finish();
    let expected = ["one", "dropped 100", "two", "three", "dropped 30"];
    assert_eq!(texts(&case.all(Query::default())), expected);
}
