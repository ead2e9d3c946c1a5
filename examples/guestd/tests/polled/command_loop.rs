//! Tests that the command loop reads the terminal and returns it.

use std::fs;

use kmon_protocol::Command;

use crate::monitor::Instance;

/// Returns how often the console's own thread has slept.
fn sleeps(instance: &Instance) -> u64 {
    let daemon = instance.daemon.as_ref().unwrap().id();
    let tasks = fs::read_dir(format!("/proc/{daemon}/task")).unwrap();
    let of_console = |task: &std::path::PathBuf| {
        let name = fs::read_to_string(task.join("comm")).unwrap();
        name == "console\n"
    };
    let task = tasks.map(|task| task.unwrap().path()).find(of_console);
    let status = fs::read_to_string(task.unwrap().join("status")).unwrap();
    let count = status
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    count.unwrap().trim().parse().unwrap()
}

#[test]
fn output_wakes_no_other_thread() {
    let mut instance = Instance::start();
    instance.type_in("echo fi''rst\r");
    instance.until_printed("first");
    let before = sleeps(&instance);
    for word in ["second", "third"] {
        instance.type_in(&format!("echo {}''{}\r", &word[..2], &word[2..]));
        instance.until_printed(word);
    }
    assert_eq!(sleeps(&instance), before);
}

#[test]
fn a_shell_that_prints_much_while_it_is_halted_still_ends() {
    let mut instance = Instance::start();
    let program = "trap 'seq 20000 49999; exit' HUP; echo re''ady; while :; do sleep 0.05; done";
    instance.type_in(&format!("exec sh -c \"{program}\"\r"));
    instance.until_printed("ready");
    instance.send(Command::Halt);
    let (output, seen) = instance.output();
    assert!(output.status.success(), "{output:?}");
    assert!(seen.has_printed("49999\r\n"));
}
