//! Kills the daemon or KMON and restarts it: no old command runs, and no output is lost.

use std::fs;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use kmon_protocol::{Command, Ending};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::monitor::{Instance, PATIENCE, SH, await_file, runs};

fn pid(instance: &Instance) -> Pid {
    Pid::from_raw(instance.daemon.as_ref().unwrap().id().cast_signed())
}

#[test]
fn a_restarted_daemon_attaches_at_once_and_runs_no_old_command() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ran");
    let append = |word: &str| format!("echo {word} >> {}", file.display());
    let mut instance = Instance::start();
    instance.type_in("echo be''fore\r");
    instance.until_printed("before");
    // It receives nothing more, and then it is killed.
    kill(pid(&instance), Signal::SIGSTOP).unwrap();
    instance.type_in(&format!("{}\r", append("typed")));
    instance.exec(1, 0, &["sh", "-c", &append("executed")]);
    instance.kill_daemon();
    let killed = Instant::now();
    instance.run_daemon(SH);
    instance.until("second incarnation", |seen| seen.incarnation == Some(2));
    println!("attached again after {:?}", killed.elapsed());
    instance.until("the discarded commands", |seen| seen.discarded == 2);
    assert_eq!(instance.seen.restarts_seen, 1);
    instance.type_in(&format!("{}\r", append("fresh")));
    assert_eq!(await_file(&file), "fresh\n");
    instance.listen(Duration::from_millis(300));
    assert_eq!(fs::read_to_string(&file).unwrap(), "fresh\n");
}

#[test]
fn a_command_for_an_earlier_incarnation_is_not_run_by_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ran");
    let mut instance = Instance::start();
    instance.kill_daemon();
    instance.run_daemon(SH);
    let (beat, deadline) = (instance.events.peer_beat(), Instant::now() + PATIENCE);
    while instance.events.peer_beat() == beat {
        assert!(Instant::now() < deadline, "no second incarnation");
        thread::sleep(Duration::from_millis(5));
    }
    // The second incarnation runs, but this side has not received its greeting: the command is for
    // the first.
    assert_eq!(instance.seen.incarnation, Some(1));
    instance.exec(1, 0, &["sh", "-c", &format!("echo x > {}", file.display())]);
    instance.until("the discarded command", |seen| seen.discarded == 1);
    assert_eq!(instance.seen.incarnation, Some(2));
    instance.run(2, "true");
    assert!(!file.exists());
}

#[test]
fn output_from_before_a_death_is_received_after_it() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("said");
    let mut instance = Instance::start();
    let before = instance.seen.console.len();
    let line = format!("seq 1 20000; echo all > {}\r", file.display());
    instance.type_in(&line);
    // No output is received meanwhile, and the ring has room for all of it.
    await_file(&file);
    instance.kill_daemon();
    instance.run_daemon(SH);
    instance.until("second incarnation", |seen| seen.incarnation == Some(2));
    let console = String::from_utf8_lossy(&instance.seen.console[before..]).into_owned();
    // The first prompt may follow the echo of the input, before the first number.
    let number = |line: &str| line.trim().trim_start_matches("# ").parse().ok();
    // The output may end in the middle of a number, so only whole lines count.
    let whole = console.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let numbers = whole.lines().filter_map(number);
    let numbers: Vec<u32> = numbers.collect();
    // The numbers are in order, and none is missing or repeated.
    let wrong = (1_u32..).zip(&numbers).find(|(n, m)| n != *m);
    let tail = &console[console.floor_char_boundary(console.len().saturating_sub(100))..];
    assert!(!numbers.is_empty(), "no number was received: {tail:?}");
    assert_eq!(
        wrong,
        None,
        "of {} numbers; the end is {tail:?}",
        numbers.len()
    );
}

#[test]
fn a_command_ends_with_the_daemon_that_ran_it() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pid");
    let mut instance = Instance::start();
    let line = format!("echo $$ > {}; exec sleep 100", file.display());
    instance.exec(1, 0, &["sh", "-c", &line]);
    let command: i32 = await_file(&file).trim().parse().unwrap();
    assert!(runs(command));
    instance.kill_daemon();
    let deadline = Instant::now() + PATIENCE;
    while runs(command) {
        assert!(Instant::now() < deadline, "the command still runs");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_second_daemon_is_refused_while_the_first_is_alive() {
    let mut instance = Instance::start();
    let mut second = instance.guestd(["--foreground", "--shell", SH]);
    let mut second = second.stderr(Stdio::piped()).spawn().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while second.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "it does not end");
        instance.take();
    }
    let output = second.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text.contains("incarnation 1 of partition 2 is attached") && text.lines().count() == 1,
        "{text}"
    );
    assert_eq!(instance.run(1, "echo unharmed").out, b"unharmed\n");
}

#[test]
fn an_evicted_daemon_ends_and_stores_nothing_in_the_region() {
    let mut instance = Instance::start();
    instance.until("prompt", |seen| !seen.console.is_empty());
    let first = instance.daemon.take().unwrap();
    let first_pid = Pid::from_raw(first.id().cast_signed());
    kill(first_pid, Signal::SIGSTOP).unwrap();
    // It takes over from a silent daemon.
    instance.run_daemon(SH);
    instance.until("second incarnation", |seen| seen.incarnation == Some(2));
    instance.until("second prompt", |seen| seen.restarts_seen == 1);
    kill(first_pid, Signal::SIGCONT).unwrap();
    let output = first.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text.contains("another guestd has attached in place of this one"),
        "{text}"
    );
    assert_eq!(instance.run(1, "echo unharmed").out, b"unharmed\n");
    assert!(!instance.seen.goodbye && instance.seen.restarts_seen == 1);
}

#[test]
fn a_new_kmon_finds_the_shell_unchanged_and_no_old_command_runs() {
    let directory = tempfile::tempdir().unwrap();
    let (file, endless) = (
        directory.path().join("ran"),
        directory.path().join("endless"),
    );
    let mut instance = Instance::start();
    instance.type_in("kept=yes; echo se''t\r");
    instance.until_printed("set");
    let line = format!("echo $$ > {}; exec sleep 100", endless.display());
    instance.exec(1, 0, &["sh", "-c", &line]);
    let command: i32 = await_file(&endless).trim().parse().unwrap();
    // The daemon has not received these when KMON dies.
    kill(pid(&instance), Signal::SIGSTOP).unwrap();
    instance.type_in(&format!("echo typed >> {}\r", file.display()));
    instance.exec(
        2,
        0,
        &["sh", "-c", &format!("echo executed >> {}", file.display())],
    );
    instance.restart_kmon();
    kill(pid(&instance), Signal::SIGCONT).unwrap();
    let back = Instant::now();
    instance.until("greeting", |seen| seen.incarnation == Some(1));
    println!("greeted again after {:?}", back.elapsed());
    instance.until("the discarded commands", |seen| seen.discarded == 2);
    // The daemon kills the command of the old KMON.
    assert_eq!(
        instance.ended(1).ending,
        Some(Ending::Signalled(Signal::SIGKILL as i32))
    );
    assert!(!runs(command));
    instance.type_in("echo kept-$kept\r");
    instance.until_printed("kept-yes");
    assert!(!file.exists() && instance.seen.restarts_seen == 0);
    instance.send(Command::Halt);
    instance.until("goodbye", |seen| seen.goodbye);
}
