//! Tests commands that run separately from the console.

use kmon_protocol::{Command, Ending};

use crate::monitor::{Instance, await_file, runs};

#[test]
fn output_and_errors_are_separate_and_the_exit_code_follows() {
    let mut instance = Instance::start();
    let run = instance.run(5, "echo out; echo err >&2; exit 3");
    assert_eq!(run.out, b"out\n");
    assert_eq!(run.err, b"err\n");
    assert_eq!(run.ending, Some(Ending::Exited(3)));
}

#[test]
fn arguments_are_passed_unchanged() {
    let mut instance = Instance::start();
    instance.exec(1, 0, &["printf", "%s|", "a b", "", "$HOME", "ü"]);
    assert_eq!(instance.ended(1).out, "a b||$HOME|ü|".as_bytes());
}

#[test]
fn the_signal_that_ends_a_command_is_reported() {
    let mut instance = Instance::start();
    assert_eq!(
        instance.run(1, "kill -SEGV $$").ending,
        Some(Ending::Signalled(11))
    );
}

#[test]
fn output_arrives_while_the_command_runs() {
    let mut instance = Instance::start();
    instance.exec(1, 0, &["sh", "-c", "echo early; sleep 60"]);
    instance.until("early output", |seen| seen.run(1).out == b"early\n");
    assert_eq!(instance.seen.runs[&1].ending, None);
    instance.send(Command::Kill { stream: 1 });
    assert_eq!(instance.ended(1).ending, Some(Ending::Signalled(15)));
}

#[test]
fn a_command_that_is_stopped_can_clean_up() {
    let mut instance = Instance::start();
    let line = "trap 'echo cleaned; exit 3' TERM; echo ready; while :; do sleep 0.1; done";
    instance.exec(1, 0, &["sh", "-c", line]);
    instance.until("its trap", |seen| seen.run(1).out == b"ready\n");
    instance.send(Command::Kill { stream: 1 });
    let ended = instance.ended(1);
    assert_eq!(ended.ending, Some(Ending::Exited(3)));
    assert_eq!(ended.out, b"ready\ncleaned\n");
}

#[test]
fn a_command_that_ignores_sigterm_is_killed_later_or_by_the_second_stop() {
    let mut instance = Instance::start();
    let line = "trap '' TERM; echo ready; while :; do sleep 0.1; done";
    for (stream, is_repeated) in [(1, false), (2, true)] {
        instance.exec(stream, 0, &["sh", "-c", line]);
        instance.until("its trap", |seen| seen.run(stream).out == b"ready\n");
        let begun = std::time::Instant::now();
        instance.send(Command::Kill { stream });
        if is_repeated {
            instance.send(Command::Kill { stream });
        }
        assert_eq!(instance.ended(stream).ending, Some(Ending::Signalled(9)));
        // Only the first one has the grace period.
        let waited = begun.elapsed() >= std::time::Duration::from_millis(1900);
        assert!(is_repeated || waited);
    }
}

#[test]
fn a_time_out_kills_the_whole_group_even_if_it_ignores_sigterm() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pid");
    let mut instance = Instance::start();
    let line = format!(
        "trap '' TERM; sleep 99 & echo $! > {}; wait; sleep 99",
        file.display()
    );
    instance.exec(1, 300, &["sh", "-c", &line]);
    let child: i32 = await_file(&file).trim().parse().unwrap();
    assert_eq!(instance.ended(1).ending, Some(Ending::TimedOut));
    assert!(!runs(child));
}

#[test]
fn a_command_that_cannot_start_reports_the_reason() {
    let mut instance = Instance::start();
    instance.exec(1, 0, &["no-such-program", "x"]);
    let reason = "cannot start no-such-program: No such file or directory";
    assert_eq!(
        instance.ended(1).ending,
        Some(Ending::NotStarted(reason.into()))
    );
    instance.exec(2, 0, &["/etc/passwd"]);
    let reason = "cannot start /etc/passwd: Permission denied";
    assert_eq!(
        instance.ended(2).ending,
        Some(Ending::NotStarted(reason.into()))
    );
    instance.exec(3, 0, &["echo", "a\0b"]);
    assert!(matches!(
        instance.ended(3).ending,
        Some(Ending::NotStarted(_))
    ));
}

#[test]
fn a_process_that_outlives_its_command_does_not_delay_the_end() {
    let mut instance = Instance::start();
    for (stream, line) in [(1, "echo a; sleep 60 &"), (2, "echo a; yes &")] {
        let run = instance.run(stream, line);
        assert_eq!(run.ending, Some(Ending::Exited(0)));
        assert!(run.out.starts_with(b"a\n"));
    }
}

#[test]
fn the_thirty_third_concurrent_command_is_refused() {
    let mut instance = Instance::start();
    for stream in 1..=32 {
        instance.exec(stream, 0, &["sleep", "55"]);
    }
    instance.exec(33, 0, &["true"]);
    let ending = instance.ended(33).ending.clone();
    assert!(
        matches!(&ending, Some(Ending::NotStarted(reason)) if reason.contains("32")),
        "{ending:?}"
    );
    for stream in 1..=32 {
        instance.send(Command::Kill { stream });
    }
    for stream in 1..=32 {
        assert_eq!(instance.ended(stream).ending, Some(Ending::Signalled(15)));
    }
    assert_eq!(instance.run(34, "echo again").out, b"again\n");
}

#[test]
fn a_command_has_no_terminal_no_input_and_no_descriptor_of_the_daemon() {
    let mut instance = Instance::start();
    let run = instance.run(
        1,
        "cat; (: < /dev/tty) 2>/dev/null || echo none; ls /proc/self/fd | wc -l",
    );
    // Three standard ones, and the directory that ls reads.
    assert_eq!(String::from_utf8_lossy(&run.out), "none\n4\n");
}
