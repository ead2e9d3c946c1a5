//! Commands run in the guest, and its figures are those of its own kernel.

use std::fs;

use serde_json::Value;

use crate::common::{Fed, becomes_true};
use crate::guests::{Guests, guest, guest_release, home_of};

fn answer(kmon: &mut Fed, command: &str) -> Value {
    let printed = kmon.ask(&format!("kmexec 2 --json {command}"));
    serde_json::from_slice(&printed).unwrap()
}

#[test]
fn a_command_in_a_guest_returns_its_outputs_and_its_exit_status() {
    let home = home_of(&[guest("")]);
    let mut kmon = Fed::start_in(&home, &[]);
    let said = answer(&mut kmon, "-- sh -c 'echo out; echo wrong >&2; exit 3'");
    assert_eq!(
        (&said["stdout"], &said["stderr"]),
        (&"out\n".into(), &"wrong\n".into())
    );
    assert_eq!(
        (&said["exit_status"], &said["signal"]),
        (&3.into(), &Value::Null)
    );
    let said = answer(&mut kmon, "-- sh -c 'kill -9 $$'");
    assert_eq!(
        (&said["exit_status"], &said["signal"]),
        (&Value::Null, &9.into())
    );
    let said = answer(&mut kmon, "--timeout 0.5 -- sleep 1000");
    assert_eq!(said["timed_out"], true);
    let said = answer(&mut kmon, "-- no-such-program");
    assert!(said["error"].is_string(), "{said}");
    assert_eq!(kmon.ask("kmexec 2 -- sh -c 'echo apart >&2; exit 7'"), b"");
    kmon.see_error("apart\n");
    kmon.see_error("exit status 7");
    assert_eq!(kmon.leave("quit"), Some(1));
}

/// Returns a number from one of the guest's own files.
fn field(kmon: &mut Fed, file: &str, name: &str) -> u64 {
    let line = kmon.exec(2, &format!("grep {name} {file}"));
    let number = line.split_whitespace().nth(1);
    number.unwrap().parse().unwrap()
}

fn reading(kmon: &mut Fed) -> Value {
    let printed = kmon.ask("kmmonitorall -n 1 --json");
    let tick: Value = serde_json::from_slice(&printed).unwrap();
    tick["instances"][0].clone()
}

/// Returns the guest's own uptime in milliseconds.
fn own_uptime(kmon: &mut Fed) -> f64 {
    let said = kmon.exec(2, "cat /proc/uptime");
    let seconds: f64 = said.split_whitespace().next().unwrap().parse().unwrap();
    seconds * 1000.0
}

#[test]
fn the_figures_of_a_guest_are_those_of_its_own_kernel() {
    let home = home_of(&[guest("vcpus = 2\nname = 'measured'")]);
    let mut kmon = Fed::start_in(&home, &[]);
    let total = field(&mut kmon, "/proc/meminfo", "MemTotal:");
    let one = kmon.list(2);
    assert_eq!(one["memory_total_kb"], total);
    assert_eq!(
        (&one["name"], &one["kind"]),
        (&"measured".into(), &"qemu".into())
    );
    assert_eq!(kmon.exec(2, "hostname"), "measured");
    assert_eq!(kmon.exec(2, "uname -r"), guest_release());
    // Each boot of a kernel has its own identifier.
    let boot = "/proc/sys/kernel/random/boot_id";
    let own = kmon.exec(2, &format!("cat {boot}"));
    assert_eq!(
        (own.len(), own == fs::read_to_string(boot).unwrap().trim()),
        (36, false)
    );
    let said = reading(&mut kmon);
    assert_eq!(said["memory"]["total_kb"], total);
    let cpus = kmon.exec(2, "grep -c ^processor /proc/cpuinfo");
    let seen = said["cpu"]["cpus"].as_array().unwrap().len();
    assert_eq!((cpus.as_str(), seen), ("2", 2));
    // The memory in use changes, and time passes: a reading lies between two readings of ours.
    let before = own_uptime(&mut kmon);
    let mut uptime = 0.0;
    let newer = becomes_true(|| {
        uptime = reading(&mut kmon)["uptime_ms"].as_f64().unwrap();
        uptime >= before
    });
    let after = own_uptime(&mut kmon);
    assert!(newer && uptime <= after + 10.0, "{before} {uptime} {after}");
    let interfaces = said["interfaces"].as_array().unwrap();
    let names: Vec<_> = interfaces.iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names, ["lo"]);
    assert_eq!(kmon.leave("quit"), Some(0));
}
