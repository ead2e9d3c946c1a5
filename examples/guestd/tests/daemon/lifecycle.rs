//! Tests the daemon's start and end, and its statistics.

use std::fs;
use std::path::Path;
use std::process::{Command as Program, Output};
use std::thread;
use std::time::{Duration, Instant};

use kmon_protocol::Command;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::monitor::{Instance, PATIENCE, SH, await_file, runs};

fn field<'a>(status: &'a str, name: &str) -> &'a str {
    status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .unwrap()
        .trim()
}

#[test]
fn a_daemon_leaves_its_parent_terminal_directory_mask_and_descriptors() {
    let directory = tempfile::tempdir().unwrap();
    let pid_file = directory.path().join("pid");
    let mut instance = Instance::empty();
    let mut program = instance.guestd(["--shell", SH, "--pid-file", "pid"]);
    let output = program.current_dir(directory.path()).output().unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
    // The parent has exited, so the daemon is attached.
    let pid: i32 = fs::read_to_string(&pid_file)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let proc = Path::new("/proc").join(pid.to_string());
    let stat = procfs::process::Process::new(pid).unwrap().stat().unwrap();
    assert_ne!(stat.ppid, std::process::id().cast_signed());
    assert_eq!((stat.session, stat.pgrp, stat.tty_nr), (pid, pid, 0));
    assert_eq!(fs::read_link(proc.join("cwd")).unwrap(), Path::new("/"));
    // Starting the shell uses a few descriptors temporarily.
    instance.until("prompt", |seen| !seen.console.is_empty());
    let status = fs::read_to_string(proc.join("status")).unwrap();
    assert_eq!(field(&status, "Umask:"), "0000");
    for (descriptor, target) in descriptors(&proc) {
        let expected = match descriptor {
            0..=2 => target == "/dev/null",
            // The last is for a reading, which opens a file temporarily.
            _ => ["anon_inode:", "/dev/ptmx", "/dev/pts/", "/proc/"]
                .iter()
                .any(|start| target.starts_with(start)),
        };
        assert!(expected, "descriptor {descriptor} is {target}");
    }
    // Its programs have the original mask.
    assert_ne!(instance.run(1, "umask").out, b"0000\n");
    instance.send(Command::Halt);
    instance.until("goodbye", |seen| seen.goodbye);
    let deadline = Instant::now() + PATIENCE;
    while runs(pid) || pid_file.exists() {
        assert!(Instant::now() < deadline, "the daemon does not end");
        thread::sleep(Duration::from_millis(10));
    }
}

fn descriptors(proc: &Path) -> Vec<(i32, String)> {
    let entries = fs::read_dir(proc.join("fd")).unwrap().map(Result::unwrap);
    let named = entries.filter_map(|entry| {
        let target = fs::read_link(entry.path())
            .ok()?
            .to_string_lossy()
            .into_owned();
        Some((entry.file_name().to_str()?.parse().ok()?, target))
    });
    named.collect()
}

#[test]
fn the_calling_process_reports_that_the_daemon_cannot_attach() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("region");
    fs::write(&file, vec![0xa5; 1 << 20]).unwrap();
    let region = format!("file:{}", file.display());
    assert_one_line(&guestd(&["--region", &region, "--wait", "0"]), 1, "region");
}

#[test]
fn a_missing_region_is_reported_in_one_line_with_the_places_searched() {
    assert_one_line(&guestd(&["--foreground"]), 1, "no ivshmem device");
}

#[test]
fn a_wrong_region_is_reported_in_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let short = directory.path().join("short");
    fs::write(&short, "too short").unwrap();
    for (region, status, says) in [
        ("file:/no/such/file".to_owned(), 1, "/no/such/file"),
        (format!("file:{}", short.display()), 1, "short"),
        (
            format!("file:{}", directory.path().display()),
            1,
            "irectory",
        ),
        ("fd:77".to_owned(), 1, "77"),
        (
            "shm:/no-such-guestd-test".to_owned(),
            1,
            "no-such-guestd-test",
        ),
        ("pci:/sys/no/resource2".to_owned(), 1, "/sys/no/resource2"),
    ] {
        assert_one_line(
            &guestd(&["--foreground", "--region", &region]),
            status,
            says,
        );
    }
    for region in [
        "",
        "fd:",
        "fd:x",
        "nonsense",
        "mem:12",
        "mem:0x1000+x",
        "shm:",
    ] {
        let output = guestd(&["--foreground", "--region", region]);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(
            matches!(output.status.code(), Some(1 | 2)) && !text.contains("panicked"),
            "{region}: {text}"
        );
    }
}

#[test]
fn wrong_options_are_refused_before_the_daemon_attaches() {
    let region = format!("fd:{}", 0);
    for (options, status, says) in [
        (vec!["--period", "0"], 2, "0.1 to 3600"),
        (vec!["--wait", "soon"], 2, "a number of seconds, or forever"),
        (vec!["--shell", "/etc/passwd"], 1, "/etc/passwd"),
        (vec!["--log", "/no/such/dir/log"], 1, "/no/such/dir/log"),
    ] {
        let mut instance = Instance::empty();
        let output = instance.guestd(&options).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.code() == Some(status) && text.contains(says),
            "{options:?}: {text}"
        );
        instance.take();
        assert!(instance.seen.incarnation.is_none());
    }
    assert_eq!(
        guestd(&["--region", &region, "--nonsense"]).status.code(),
        Some(2)
    );
    assert_eq!(guestd(&["--help"]).status.code(), Some(0));
}

fn guestd(arguments: &[&str]) -> Output {
    Program::new(env!("CARGO_BIN_EXE_guestd"))
        .args(arguments)
        .output()
        .unwrap()
}

pub(crate) fn assert_one_line(output: &Output, status: i32, says: &str) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{text}");
    assert!(
        text.trim_end().lines().count() == 1 && text.starts_with("guestd: ") && text.contains(says),
        "{text}"
    );
}

#[test]
fn a_termination_signal_ends_the_daemon_with_a_goodbye() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let instance = Instance::start();
        kill(
            Pid::from_raw(instance.daemon.as_ref().unwrap().id().cast_signed()),
            signal,
        )
        .unwrap();
        let (output, seen) = instance.output();
        assert!(output.status.success() && seen.goodbye, "{output:?}");
    }
}

#[test]
fn a_corrupt_region_ends_the_daemon_with_one_line() {
    let mut instance = Instance::start();
    let window = instance.memory.window();
    window.write(0, &vec![0xa5; window.len()]);
    let output = instance.daemon.take().unwrap().wait_with_output().unwrap();
    assert_one_line(&output, 1, "KMON broke");
}

#[test]
fn the_daemons_messages_go_to_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let mut instance = Instance::empty();
    let log_name = log.to_str().unwrap().to_owned();
    let output = instance
        .guestd(["--shell", SH, "--log", &log_name])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    instance.exec(1, 0, &["sleep", "60"]);
    instance.exec(1, 0, &["sleep", "60"]);
    assert!(await_file(&log).contains("stream 1"));
    instance.send(Command::Halt);
    instance.until("goodbye", |seen| seen.goodbye);
}

#[test]
fn statistics_agree_with_proc() {
    let mut instance = Instance::start();
    let before = procfs::net::dev_status().unwrap();
    let first = instance.stats(|_| true);
    // The next reading may have begun before `before`; the one after it has not.
    let next = instance.stats(|stats| stats.taken_ns > first.taken_ns);
    let stats = instance.stats(|stats| stats.taken_ns > next.taken_ns);
    let after = procfs::net::dev_status().unwrap();
    assert!(stats.taken_ns > first.taken_ns && stats.uptime_ms > first.uptime_ms);
    let text = |path: &str| fs::read_to_string(path).unwrap().trim().to_owned();
    assert_eq!(stats.hostname, text("/proc/sys/kernel/hostname"));
    assert_eq!(stats.kernel, text("/proc/sys/kernel/osrelease"));
    let total = field(&text("/proc/meminfo"), "MemTotal:")
        .trim_end_matches(" kB")
        .to_owned();
    assert_eq!(stats.memory_total_kb.to_string(), total);
    let cpus = text("/proc/stat")
        .lines()
        .filter(|line| line.starts_with("cpu"))
        .count()
        - 1;
    assert_eq!(stats.cpus.len(), cpus);
    let sum: u64 = stats.cpus.iter().map(|cpu| cpu.total).sum();
    assert!(
        stats.cpu.total.abs_diff(sum) <= 10 * cpus as u64,
        "{} and {sum}",
        stats.cpu.total
    );
    assert_eq!(stats.interfaces.len(), before.len());
    for interface in &stats.interfaces {
        let range = before[&interface.name].recv_bytes..=after[&interface.name].recv_bytes;
        assert!(
            range.contains(&interface.rx_bytes),
            "{interface:?} {range:?}"
        );
    }
}
