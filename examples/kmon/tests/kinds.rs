//! Tests external instances, and the operations that a kind does not support. Machines are tested
//! with the system tests of `kmon-qemu`.

mod common;

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use common::{Fed, Home, becomes_true, guestd, home, run_script};

/// A guestd that KMON did not start, on a file.
struct Outside(Child);

impl Outside {
    fn start(region: &str) -> Self {
        let mut command = Command::new(guestd());
        command
            .args(["--region", region, "--foreground", "--wait", "forever"])
            .args(["--shell", "/bin/sh"])
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }

    fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Creates a home with memory for one external instance. Also returns the place of the memory.
fn outside_home() -> (Home, String) {
    let home = home();
    let memory: PathBuf = home.path().join("memory");
    File::create(&memory).unwrap().set_len(2 << 20).unwrap();
    // The path is relative to the file.
    let config = "[kmon]\nperiod = 0.3\n\n[[instance]]\nname = 'outside'\n\
                  kind = 'external'\nregion = 'file:memory'\n";
    std::fs::write(home.path().join("kmon.toml"), config).unwrap();
    (home, format!("file:{}", memory.display()))
}

#[test]
fn a_guestd_that_kmon_did_not_start_is_an_instance() {
    let (home, place) = outside_home();
    let mut kmon = Fed::start_in(&home, &[]);
    // KMON does not wait for it.
    let one = kmon.list(2);
    assert_eq!(
        (&one["kind"], &one["state"], &one["region"]),
        (
            &"external".into(),
            &"starting".into(),
            &place.clone().into()
        )
    );
    let mut guestd = Outside::start(&place);
    kmon.list_until(2, |one| one["state"] == "running");
    assert_eq!(kmon.ask("kmexec 2 -- echo outside"), b"outside\n");
    // The same guestd attaches to the new region.
    kmon.ask("kmreset 2");
    kmon.list_until(2, |one| one["state"] == "running");
    assert_eq!(kmon.ask("kmexec 2 -- echo again"), b"again\n");
    assert!(!guestd.has_ended());
    // The next KMON finds it.
    kmon.kill();
    let mut kmon = Fed::start_in(&home, &[]);
    kmon.list_until(2, |one| one["state"] == "running");
    assert_eq!(kmon.ask("kmexec 2 -- echo found"), b"found\n");
    assert_eq!(kmon.ask("kmhalt 2"), b"instance 2 is halted\n");
    assert!(becomes_true(|| guestd.has_ended()));
    assert_eq!(kmon.leave("quit"), Some(0));
}

#[test]
fn an_external_instance_outlives_kmon_and_its_own_guestd() {
    let (home, place) = outside_home();
    let mut kmon = Fed::start_in(&home, &[]);
    let first = Outside::start(&place);
    kmon.list_until(2, |one| one["state"] == "running");
    drop(first);
    kmon.list_until(2, |one| one["state"] == "silent");
    let mut second = Outside::start(&place);
    kmon.list_until(2, |one| {
        one["state"] == "running" && one["incarnation"] == 2
    });
    assert_eq!(kmon.leave("quit"), Some(0));
    assert!(!second.has_ended());
    // The next KMON formats the memory, and the guestd attaches again.
    let mut kmon = Fed::start_in(&home, &[]);
    kmon.list_until(2, |one| one["state"] == "running");
    assert!(!second.has_ended());
    drop(second);
    kmon.list_until(2, |one| one["state"] == "silent");
    let released: &[u8] = b"instance 2 is released: it continues without KMON\n";
    assert_eq!(kmon.ask("kmhalt 2"), released);
}

#[test]
fn a_replaced_memory_file_is_reported_and_a_reset_uses_the_new_one() {
    let (home, place) = outside_home();
    let mut kmon = Fed::start_in(&home, &[]);
    let mut guestd = Outside::start(&place);
    kmon.list_until(2, |one| one["state"] == "running");
    let memory = home.path().join("memory");
    std::fs::remove_file(&memory).unwrap();
    File::create(&memory).unwrap().set_len(2 << 20).unwrap();
    kmon.see_error("memory was replaced; the old file is in use until kmreset");
    kmon.ask("kmreset 2");
    kmon.list_until(2, |one| one["state"] == "running");
    assert_eq!(kmon.ask("kmexec 2 -- echo anew"), b"anew\n");
    assert!(!guestd.has_ended());
    assert_eq!(kmon.leave("quit"), Some(0));
}

#[test]
fn an_unsupported_operation_is_refused_in_one_line() {
    let script = "kmpause 2\nkmresume 2\nkmlog 2 --kernel --all\nkmhalt 2\nkmpause 2\n";
    let output = run_script(&["--instances", "1"], script);
    let errors = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<_> = errors.lines().collect();
    let expected = [
        "kmpause: instance 2: it runs as processes of this machine",
        "kmresume: instance 2 is not paused (running)",
        "kmpause: instance 2 is not running (halted)",
    ];
    assert_eq!(lines.len(), expected.len(), "{errors}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with(expected), "{line}");
    }
    // An embedded instance has no kernel of its own.
    assert_eq!(output.stdout, b"instance 2 is halted\n");
}

#[test]
fn a_machine_without_its_server_or_qemu_is_reported_in_one_line() {
    let home = home();
    let instance =
        |more: &str| format!("[[instance]]\nkind = 'qemu'\nkernel = '/bin/sh'\n{more}\n");
    let config = [
        instance("transport = 'doorbell'"),
        instance("qemu = 'no-such-qemu'"),
    ];
    std::fs::write(home.path().join("kmon.toml"), config.concat()).unwrap();
    let output = common::run_script_in(
        &home,
        &["--ivshmem-server", "/no/such/server"],
        "kmlist --json\n",
    );
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8(output.stderr).unwrap();
    for expected in [
        "instance 2 was not started: cannot run /no/such/server; build it",
        "instance 3 was not started: there is no program no-such-qemu",
    ] {
        assert!(errors.contains(expected), "{errors}");
    }
    let list: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(list["instances"][0]["state"], "dead");
    assert_eq!(list["instances"][0]["transport"], "doorbell");
    assert!(list["instances"][1]["detail"].is_string());
}
