//! Tests the kernel's log, and the command that runs after a halt.

use std::fs::File;
use std::process::Stdio;
use std::time::Duration;

use kmon_protocol::{Command, Received};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::lifecycle::assert_one_line;
use crate::monitor::{Instance, SH, await_file};

/// Waits for kernel lines and returns their numbers.
fn receive_lines(instance: &mut Instance) -> Vec<u64> {
    let mut numbers = Vec::new();
    let mut kernel = instance.kernel.take().unwrap();
    instance.until("line of the kernel", |_| {
        let taken = kernel.receive(Duration::ZERO, |_, received| {
            if let Received::Message(line) = received {
                numbers.push(line.sequence);
            }
        });
        taken.unwrap();
        !numbers.is_empty()
    });
    instance.kernel = Some(kernel);
    numbers
}

fn run(instance: &mut Instance, arguments: &[&str]) {
    let arguments = [&["--foreground", "--shell", SH], arguments].concat();
    let mut program = instance.guestd(arguments);
    instance.daemon = Some(program.stderr(Stdio::piped()).spawn().unwrap());
    instance.seen.incarnation = None;
    instance.until("hello", |seen| seen.incarnation.is_some());
}

#[test]
fn the_kernels_log_is_sent_if_it_can_be_read_and_each_line_once() {
    let mut instance = Instance::empty();
    run(&mut instance, &["--kernel-log", "always"]);
    if File::open("/dev/kmsg").is_err() {
        instance.send(Command::Halt);
        let (output, _) = instance.output();
        return assert_one_line(&output, 0, "the kernel's log is not sent");
    }
    let first = receive_lines(&mut instance);
    assert!(first.is_sorted_by(|a, b| a < b), "{first:?}");
    instance.kill_daemon();
    run(&mut instance, &["--kernel-log", "always"]);
    let last = first.last();
    let mut kernel = instance.kernel.take().unwrap();
    let received = kernel.receive(Duration::ZERO, |_, received| {
        if let Received::Message(line) = received {
            assert!(Some(&line.sequence) > last, "{line:?} after {last:?}");
        }
    });
    received.unwrap();
}

#[test]
fn the_log_of_a_shared_kernel_is_not_sent_by_default() {
    let mut instance = Instance::start();
    assert_eq!(instance.run(1, "echo here").out, b"here\n");
    let mut kernel = instance.kernel.take().unwrap();
    let taken = kernel.receive(Duration::ZERO, |_, _| {});
    assert_eq!(taken, Ok(0));
}

#[test]
fn a_halt_runs_its_command_after_the_goodbye_and_a_signal_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("off");
    let command = format!("echo off > {}; exit 3", file.display());
    let arguments = ["--on-halt", &command];
    let mut instance = Instance::empty();
    run(&mut instance, &arguments);
    let pid = instance.daemon.as_ref().unwrap().id().cast_signed();
    kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    let (output, seen) = instance.output();
    assert!(output.status.success() && seen.goodbye && !file.exists());

    let mut instance = Instance::empty();
    run(&mut instance, &arguments);
    instance.send(Command::Halt);
    let (output, seen) = instance.output();
    assert_eq!(await_file(&file), "off\n");
    assert!(output.status.code() == Some(3) && seen.goodbye);
}
