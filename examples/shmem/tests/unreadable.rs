//! A place that cannot be read gives one line of error, and exit status 2.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use common::{LEN, Sample, shmem, text};

/// Returns the error message of `shmem inspect` of a place.
fn refusal(place: &str) -> String {
    let output = shmem(["inspect", place]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    text(&output.stderr)
}

#[test]
fn a_missing_place_is_reported() {
    let missing = "No such file or directory; check the name";
    for place in [
        "/nowhere/at/all",
        "file:/nowhere",
        "shm:/shmem-nothing",
        "pci:/nowhere",
    ] {
        let line = refusal(place);
        let place = place.strip_prefix("dump:").unwrap_or(place);
        assert!(
            line.starts_with(&format!("shmem: cannot read {place}: {missing}")),
            "{line}"
        );
        assert_eq!(line.matches('\n').count(), 1);
    }
    assert_eq!(
        refusal("pid:999999999/3"),
        format!("shmem: cannot read pid:999999999/3: {missing}\n")
    );
    assert_eq!(
        refusal("pid:999999999"),
        format!("shmem: cannot read pid:999999999: {missing}\n")
    );
}

#[test]
fn an_empty_file_and_a_directory_are_reported() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("empty");
    std::fs::write(&path, "").unwrap();
    for kind in ["", "file:"] {
        let place = format!("{kind}{}", path.display());
        assert_eq!(
            refusal(&place),
            format!("shmem: cannot read {place}: it is empty\n")
        );
        let place = format!("{kind}{}", directory.path().display());
        assert_eq!(
            refusal(&place),
            format!("shmem: cannot read {place}: it is a directory\n")
        );
    }
    let place = directory.path().join("dump");
    std::fs::write(&place, [0; 100]).unwrap();
    let output = shmem([
        "inspect".as_ref(),
        "--offset".as_ref(),
        "100".as_ref(),
        place.as_os_str(),
    ]);
    let message = text(&output.stderr);
    assert!(
        message.ends_with("it ends at 100, before offset 100\n"),
        "{message}"
    );
}

#[test]
fn a_pipe_is_not_a_region_and_is_not_waited_for() {
    let mut child = Command::new("sleep")
        .arg("1000")
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let line = refusal(&format!("pid:{}/0", child.id()));
    let none = refusal(&format!("pid:{}", child.id()));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        line.ends_with("it is neither a file nor a device\n"),
        "{line}"
    );
    assert!(
        none.ends_with("none of its descriptors is a region\n"),
        "{none}"
    );
}

#[test]
fn memory_without_read_permission_is_reported() {
    let sample = Sample::new();
    let forbidden = std::fs::Permissions::from_mode(0o000);
    std::fs::set_permissions(sample.file(), forbidden).unwrap();
    // Root may read all: run it as a user who may not, with a program that the user may run.
    let program = sample.directory().join("shmem");
    std::fs::copy(env!("CARGO_BIN_EXE_shmem"), &program).unwrap();
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&program, open.clone()).unwrap();
    std::fs::set_permissions(sample.directory(), open).unwrap();
    let mut command = Command::new(&program);
    command.args(["inspect", &sample.live()]);
    if std::fs::File::open(sample.file()).is_ok() {
        command.uid(65_534);
    }
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let message = text(&output.stderr);
    let why = "Permission denied; run as a user with access to it\n";
    assert_eq!(
        message,
        format!("shmem: cannot read {}: {why}", sample.live())
    );
}

#[test]
fn an_error_in_the_command_line_says_what_is_right() {
    for (arguments, expected) in [
        (
            &["inspect", "usb:1"][..],
            "give the path of a dump, or shm:/NAME",
        ),
        (&["inspect", "--offset", "x", "a"], "give a number of bytes"),
        (&["inspect", "--watch", "0", "a"], "give seconds"),
        (&["inspect", "-n", "3", "a"], "--watch"),
        (&["inspect"], "<PLACE>"),
        (&["dump", "a"], "<FILE>"),
    ] {
        let output = shmem(arguments);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(text(&output.stderr).contains(expected), "{output:?}");
    }
    let sample = Sample::new();
    let dump = sample.dump();
    let output = shmem(["inspect", "--watch", "1", dump.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("a dump does not change"));
}

#[test]
fn bytes_without_a_region_are_damaged_and_not_unreadable() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("noise");
    for bytes in [&b"#!/bin/sh\n"[..], &[0xff; 4096], &[0; 4096], &[1; 256]] {
        std::fs::write(&path, bytes).unwrap();
        let output = shmem(["inspect", path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(
            text(&output.stdout).contains("\ndamaged: header: "),
            "{output:?}"
        );
    }
}

#[test]
fn memory_that_is_truncated_while_it_is_read_ends_the_program_with_a_message() {
    let sample = Sample::new();
    let place = sample.live();
    let mut watch = Command::new(env!("CARGO_BIN_EXE_shmem"));
    watch.args(["inspect", "--json", "--watch", "0.05", &place]);
    let mut child = watch
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut reports = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut report = String::new();
    std::io::BufRead::read_line(&mut reports, &mut report).unwrap();
    assert!(report.contains("\"sound\":true"), "{report}");
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(sample.file())
        .unwrap();
    file.set_len(0).unwrap();
    std::io::copy(&mut reports, &mut std::io::sink()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let message = text(&output.stderr);
    assert_eq!(
        message,
        "shmem: the memory disappeared while it was read: its file was truncated\n"
    );
    // The sample's own mapping is not used any more.
    assert_eq!(file.metadata().unwrap().len(), 0);
    file.set_len(LEN as u64).unwrap();
}

#[test]
fn output_that_is_closed_early_is_not_a_failure() {
    let sample = Sample::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_shmem"));
    command.args(["inspect", &sample.live()]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (output.status.code(), text(&output.stderr)),
        (Some(0), String::new())
    );
}
