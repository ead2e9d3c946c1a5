//! The writing thread.

use std::sync::mpsc::{Receiver, channel};

use super::*;
use crate::disklog::{DiskLogs, FLUSH_TIME, Settings, has_written};

/// Starts logs in `directory`. Returns them, and the notices about problems.
fn start(directory: &Path) -> (DiskLogs, Receiver<String>) {
    let settings = Settings {
        directory: directory.to_owned(),
        bound: Bound {
            size: 1 << 20,
            count: 4,
            compress: false,
        },
    };
    let (notices, posted) = channel();
    let logs = DiskLogs::start(settings, move |line| {
        // A test that has seen enough does not listen any more.
        let _ = notices.send(line);
    });
    (logs.unwrap(), posted)
}

fn lines(logs: &DiskLogs, name: LogName) -> Vec<String> {
    assert!(logs.flush());
    let mut entries = logs.entries(name, Query::default());
    let all: Vec<_> = std::iter::from_fn(|| entries.next().unwrap()).collect();
    texts(&all)
}

#[test]
fn output_is_written_when_it_is_reported_and_at_the_end() {
    let home = tempfile::tempdir().unwrap();
    let ring = Ring::new(1 << 20);
    ring.print(b"early\n");
    let (logs, _) = start(home.path());
    let ringer = logs.add(NAME, "instance 2 (web)", ring.clone());
    logs.noter().note("instance 2 died\nreally");
    assert_eq!(lines(&logs, NAME), ["early"]);
    let mut news = logs.subscribe();
    ring.print(b"next\n");
    ringer.ring();
    assert!(has_written(&mut news));
    assert_eq!(lines(&logs, NAME), ["early", "next"]);
    assert_eq!(lines(&logs, LogName::Kmon), ["instance 2 died really"]);
    ring.print(b"unfinished");
    ringer.ring();
    logs.noter().note("the end");
    drop(logs);
    let text = fs::read_to_string(home.path().join("2.log")).unwrap();
    assert!(text.ends_with(" + unfinished\n"), "{text}");
    let (logs, _) = start(home.path());
    let notices = lines(&logs, LogName::Kmon);
    assert_eq!(notices, ["instance 2 died really", "the end"]);
}

#[test]
fn a_directory_that_cannot_be_used_is_reported_once_and_the_log_continues_later() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("logs");
    fs::write(&directory, "in the way").unwrap();
    let ring = Ring::new(1 << 20);
    ring.print(b"kept\n");
    let (logs, notices) = start(&directory);
    logs.add(NAME, "instance 2 (web)", ring.clone());
    let notice = notices.recv_timeout(FLUSH_TIME * 10).unwrap();
    assert!(
        notice.contains("logs cannot be written to") && !notice.contains('\n'),
        "{notice}"
    );
    for _ in 0..100 {
        assert!(logs.flush());
    }
    assert!(notices.try_recv().is_err(), "one notice");
    fs::remove_file(&directory).unwrap();
    assert_eq!(lines(&logs, NAME), ["kept"]);
    let notice = notices.recv_timeout(FLUSH_TIME * 10).unwrap();
    assert!(
        notice.contains("are written") && notice.contains("again"),
        "{notice}"
    );
}

#[test]
fn two_kmons_do_not_write_to_one_directory() {
    let home = tempfile::tempdir().unwrap();
    let (first, _) = start(home.path());
    assert!(first.flush());
    let (second, notices) = start(home.path());
    let notice = notices.recv_timeout(FLUSH_TIME * 10).unwrap();
    assert!(notice.contains("another KMON writes there"), "{notice}");
    drop(first);
    let ring = Ring::new(1 << 20);
    ring.print(b"mine now\n");
    second.add(NAME, "instance 2 (web)", ring);
    assert_eq!(lines(&second, NAME), ["mine now"]);
}

#[test]
fn a_removed_instance_leaves_its_lines_to_nobody_with_its_number() {
    let home = tempfile::tempdir().unwrap();
    let (logs, _) = start(home.path());
    let ring = Ring::new(1 << 20);
    logs.add(NAME, "instance 2 (web)", ring.clone());
    ring.print(b"last words");
    logs.flush();
    logs.forget(2);
    assert!(lines(&logs, NAME).is_empty());
    // Nobody keeps the removed one.
    assert_eq!(Arc::strong_count(&ring), 1);
    let ring = Ring::new(1 << 20);
    ring.print(b"new\n");
    logs.add(NAME, "instance 2 (db)", ring);
    assert_eq!(lines(&logs, NAME), ["new"]);
    let all = Query {
        all_owners: true,
        ..Query::default()
    };
    let mut entries = logs.entries(NAME, all);
    let all: Vec<_> = std::iter::from_fn(|| entries.next().unwrap()).collect();
    assert_eq!(texts(&all), ["last words+", "new"]);
}
