//! Tests a daemon that starts before KMON, or that runs when KMON formats the region again.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use kmon_protocol::{Command, Ending};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use shmem_core::Region;

use crate::POLLS;
use crate::lifecycle::assert_one_line;
use crate::monitor::{Instance, PATIENCE, SH, await_file, guestd, memory, runs};

#[test]
fn a_daemon_that_starts_before_kmon_attaches_when_the_region_is_formatted() {
    let directory = tempfile::tempdir().unwrap();
    let (log, pid_file) = (directory.path().join("log"), directory.path().join("pid"));
    let memory = memory();
    let names = [&log, &pid_file].map(|path| path.to_str().unwrap());
    let arguments = ["--shell", SH, "--log", names[0], "--pid-file", names[1]];
    let output = guestd(memory, arguments).output().unwrap();
    // The parent has exited, and the daemon has no region yet.
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
    let pid = await_file(&pid_file).trim().parse().unwrap();
    assert!(runs(pid));
    let mut instance = Instance::with_memory(memory);
    instance.until("hello", |seen| seen.incarnation == Some(1));
    assert_eq!(instance.run(1, "echo here").out, b"here\n");
    let said = fs::read_to_string(&log).unwrap();
    assert_eq!(said.matches("waiting for KMON to format fd:").count(), 1);
    instance.send(Command::Halt);
    instance.until("goodbye", |seen| seen.goodbye);
}

#[test]
fn the_daemon_waits_until_a_partly_formatted_region_is_complete() {
    let memory = memory();
    Region::format(memory.window()).unwrap();
    let output = guestd(memory, ["--foreground"]).output().unwrap();
    assert_one_line(&output, 1, "registry");
    let mut waiting = guestd(memory, ["--foreground", "--shell", SH, "--wait", "forever"]);
    let waiting = waiting.stderr(Stdio::piped()).spawn().unwrap();
    let mut instance = Instance::with_memory(memory);
    instance.daemon = Some(waiting);
    instance.until("hello", |seen| seen.incarnation == Some(1));
}

#[test]
fn in_the_foreground_the_daemon_does_not_wait_by_default() {
    let output = guestd(memory(), ["--foreground"]).output().unwrap();
    assert_one_line(&output, 1, "not a region");
}

#[test]
fn waiting_ends_at_the_time_out() {
    let start = Instant::now();
    let output = guestd(memory(), ["--foreground", "--wait", "0.3"]).output();
    let output = output.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(300));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    let lines: Vec<_> = text.lines().collect();
    assert!(
        lines.len() == 2
            && lines[0].starts_with("guestd: waiting for KMON to format fd:")
            && lines[1].contains("not a region"),
        "{text}"
    );
}

#[test]
fn the_daemon_does_not_wait_for_a_region_of_another_version() {
    let memory = memory();
    Region::format(memory.window()).unwrap();
    memory.window().write(4, &99_u32.to_le_bytes());
    let output = guestd(memory, ["--foreground", "--wait", "forever"]).output();
    assert_one_line(&output.unwrap(), 1, "layout version 99");
}

#[test]
fn a_signal_ends_the_waiting_without_a_failure() {
    let directory = tempfile::tempdir().unwrap();
    let pid_file = directory.path().join("pid");
    let name = pid_file.to_str().unwrap();
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let arguments = ["--foreground", "--wait", "forever", "--pid-file", name];
        let mut waiting = guestd(memory(), arguments);
        let waiting = waiting.stderr(Stdio::null()).spawn().unwrap();
        await_file(&pid_file);
        kill(Pid::from_raw(waiting.id().cast_signed()), signal).unwrap();
        let output = waiting.wait_with_output().unwrap();
        assert!(output.status.success(), "{:?}", output.status.signal());
        assert!(!pid_file.exists());
    }
}

#[test]
fn the_daemon_attaches_to_a_region_that_was_formatted_again_and_keeps_its_shell() {
    let directory = tempfile::tempdir().unwrap();
    let endless = directory.path().join("endless");
    let mut instance = Instance::empty();
    let mut program = instance.guestd(["--foreground", "--shell", SH, "--wait", "forever"]);
    instance.daemon = Some(program.stderr(Stdio::piped()).spawn().unwrap());
    instance.until("hello", |seen| seen.incarnation == Some(1));
    instance.type_in("kept=yes; echo se''t\r");
    instance.until_printed("set");
    let line = format!("echo $$ > {}; exec sleep 100", endless.display());
    instance.exec(1, 0, &["sh", "-c", &line]);
    let command: i32 = await_file(&endless).trim().parse().unwrap();
    let mut instance = instance.format_again();
    instance.until("the second hello", |seen| seen.incarnation == Some(1));
    instance.until("the command's end", |_| !runs(command));
    instance.type_in("echo kept-$kept\r");
    instance.until_printed("kept-yes");
    assert_eq!(instance.run(7, "exit 7").ending, Some(Ending::Exited(7)));
    let first = instance.stats(|stats| stats.taken_ns > 0);
    instance.stats(|stats| stats.taken_ns > first.taken_ns);
    // No record of the old region was received from the new one.
    assert_eq!(
        (instance.seen.discarded, instance.seen.restarts_seen),
        (0, 0)
    );
    instance.send(Command::Halt);
    let (output, seen) = instance.output();
    assert!(output.status.success() && seen.goodbye, "{output:?}");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("KMON formats the region"), "{text}");
}

#[test]
fn a_region_that_is_formatted_during_a_flood_of_output_is_intact() {
    let mut instance = Instance::empty();
    let mut program = instance.guestd(["--foreground", "--shell", SH, "--wait", "forever"]);
    instance.daemon = Some(program.stderr(Stdio::null()).spawn().unwrap());
    instance.until("hello", |seen| seen.incarnation == Some(1));
    instance.type_in("yes flood\r");
    for _ in 0..5 {
        instance.until("flood", |seen| seen.has_printed("flood\r\nflood\r\n"));
        instance = instance.format_again();
        instance.until("the next hello", |seen| seen.incarnation == Some(1));
    }
    instance.type_in("\x03");
    instance.type_in("echo af''ter\r");
    instance.until_printed("after");
    assert_eq!(instance.run(1, "echo whole").out, b"whole\n");
}

#[test]
fn the_daemon_survives_zeroed_memory_and_attaches_again() {
    let mut instance = Instance::empty();
    let mut program = instance.guestd(["--foreground", "--shell", SH, "--wait", "forever"]);
    instance.daemon = Some(program.stderr(Stdio::piped()).spawn().unwrap());
    instance.until("hello", |seen| seen.incarnation == Some(1));
    let window = instance.memory.window();
    window.write(0, &vec![0; window.len()]);
    // The incarnation is the same as before.
    let mut instance = instance.format_again();
    instance.until("the second hello", |seen| seen.incarnation == Some(1));
    assert_eq!(instance.run(1, "echo here").out, b"here\n");
}

#[test]
fn a_polling_daemon_sleeps_with_a_time_out() {
    let mut instance = Instance::empty();
    let arguments = ["--poll", "--foreground", "--shell", SH];
    let mut program = instance.guestd(&arguments[usize::from(POLLS)..]);
    let daemon = program.stderr(Stdio::piped()).spawn().unwrap();
    let place = format!("/proc/{}/wchan", daemon.id());
    instance.daemon = Some(daemon);
    instance.until("hello", |seen| seen.incarnation == Some(1));
    let deadline = Instant::now() + PATIENCE;
    while !fs::read_to_string(&place).unwrap().contains("poll") {
        assert!(Instant::now() < deadline, "it never sleeps with a time-out");
        instance.take();
    }
    assert_eq!(instance.run(1, "echo here").out, b"here\n");
}
