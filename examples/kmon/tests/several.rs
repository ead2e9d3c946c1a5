//! Commands for several instances: names, ranges and `all`.

mod common;

use std::fs;
use std::process::{Output, Stdio};

use common::{Fed, becomes_true, home, kmon_in, one_shot};
use serde_json::Value;

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The lines in an order that does not depend on which instance was faster.
fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines
}

fn json_lines(text: &str) -> Vec<Value> {
    let mut lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    lines.sort_by_key(|line| line["instance"].as_u64());
    lines
}

#[test]
fn an_exec_in_several_marks_the_lines_and_has_the_worst_status() {
    let home = home();
    let mut kmon = Fed::start_in(&home, &["--instances", "3"]);
    kmon.list(4);
    let script = "printf 'one\\ntwo'; echo err >&2; case $(uname -n) in part2) exit 0;; \
                  part3) exit 7;; *) exit 5;; esac";
    let output = one_shot(&home, &["exec", "2-9", "--", "sh", "-c", script]);
    assert_eq!(output.status.code(), Some(7));
    let expected = [
        "part2: one",
        "part2: two",
        "part3: one",
        "part3: two",
        "part4: one",
        "part4: two",
    ];
    assert_eq!(sorted(&stdout(&output)), expected);
    let expected = [
        "kmon: kmexec: 2 of 3 instances failed",
        "part2: err",
        "part3: err",
        "part3: exit status 7",
        "part4: err",
        "part4: exit status 5",
    ];
    assert_eq!(sorted(&stderr(&output)), expected);
    // A single name prints as a single number does.
    let output = one_shot(&home, &["exec", "part3", "--", "uname", "-n"]);
    assert_eq!(
        (stdout(&output), stderr(&output)),
        ("part3\n".into(), String::new())
    );
    assert_eq!(kmon.leave("quit --all"), Some(0));
}

#[test]
fn each_instance_has_its_line_of_json_also_one_that_does_not_run() {
    let home = home();
    let mut kmon = Fed::start_in(&home, &["--instances", "3"]);
    kmon.ask("kmhalt part3");
    let output = one_shot(&home, &["exec", "--json", "part2,3,4", "--", "uname", "-n"]);
    assert_eq!(output.status.code(), Some(1));
    let lines = json_lines(&stdout(&output));
    let seen: Vec<_> = lines
        .iter()
        .map(|line| (line["stdout"].as_str().unwrap(), line["error"].is_null()))
        .collect();
    assert_eq!(seen, [("part2\n", true), ("", false), ("part4\n", true)]);
    // `all` means those that run.
    let output = one_shot(&home, &["exec", "--json", "all", "--", "uname", "-n"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(json_lines(&stdout(&output)).len(), 2);
    assert_eq!(kmon.leave("quit --all"), Some(0));
}

#[test]
fn instances_are_halted_loaded_removed_and_logged_together() {
    let home = home();
    let mut kmon = Fed::start_in(&home, &["--instances", "4"]);
    kmon.list(5);
    let run = |words: &[&str]| {
        let output = one_shot(&home, words);
        (output.status.code(), stdout(&output), stderr(&output))
    };
    let (status, out, _) = run(&["halt", "part2", "4-5"]);
    let halted = [
        "instance 2 is halted",
        "instance 4 is halted",
        "instance 5 is halted",
    ];
    assert_eq!((status, sorted(&out)), (Some(0), halted.to_vec()));
    let (status, out, _) = run(&["load", "all"]);
    let running = [
        "instance 2 is running",
        "instance 4 is running",
        "instance 5 is running",
    ];
    assert_eq!((status, sorted(&out)), (Some(0), running.to_vec()));
    let (status, _, errors) = run(&["load", "all"]);
    assert_eq!(status, Some(1));
    assert!(
        errors.contains("no instance is in a state for this"),
        "{errors}"
    );
    run(&["halt", "5"]);
    let (status, out, errors) = run(&["rm", "3,5"]);
    assert_eq!((status, out.as_str()), (Some(1), "instance 5 is removed\n"));
    assert!(errors.contains("part3: "), "{errors}");
    kmon.ask("kmconsole part2\necho seen-$((40+2))\nkmexitconsole");
    let (status, out, _) = run(&["log", "all", "--grep", "^seen-42$", "-n", "1"]);
    assert_eq!(status, Some(0));
    assert!(
        out.starts_with("2| ") && out.ends_with(" seen-42\n"),
        "{out}"
    );
    let (status, out, _) = run(&["log", "2-4", "--all"]);
    assert_eq!(status, Some(0));
    assert!(out.lines().any(|line| line == "2| seen-42"), "{out}");
    assert!(out.lines().any(|line| line.starts_with("4| ")), "{out}");
    let (status, _, errors) = run(&["halt", "2,mail"]);
    assert_eq!(status, Some(1));
    assert!(errors.contains("there is no instance mail"), "{errors}");
    assert_eq!(kmon.list(2)["state"], "running", "nothing was halted");
    assert_eq!(kmon.leave("quit --all"), Some(0));
}

#[test]
fn files_are_copied_to_and_from_several() {
    let home = home();
    let mut kmon = Fed::start_in(&home, &["--instances", "2"]);
    kmon.list(3);
    for name in ["file", "own", "all"] {
        fs::create_dir_all(home.path().join(name)).unwrap();
    }
    let path = |name: &str| home.path().join(name).display().to_string();
    fs::write(path("file/a"), "content").unwrap();
    // The instances share the files of this machine.
    let output = one_shot(&home, &["put", "all", &path("file/a"), &path("own")]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let lines = stdout(&output);
    assert_eq!(lines.lines().count(), 2, "{lines}");
    assert!(
        lines.contains("part2: ") && lines.contains("part3: "),
        "{lines}"
    );
    let output = one_shot(&home, &["get", "2-3", &path("own/a"), &path("all")]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    for name in ["part2", "part3"] {
        let copied = home.path().join("all").join(name).join("a");
        assert_eq!(fs::read_to_string(copied).unwrap(), "content");
    }
    let output = one_shot(&home, &["get", "all", &path("own/a"), &path("file/a")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("can only be copied into a directory"));
    assert_eq!(kmon.leave("quit --all"), Some(0));
}

#[test]
fn an_interrupt_asks_all_commands_to_end_and_the_second_one_kills_them() {
    let home = home();
    let mut kmon = Fed::start_in(&home, &["--instances", "2"]);
    kmon.list(3);
    for (trap, presses, status) in [("exit 3", 1, 3), ("", 2, 137)] {
        let script = format!(
            "trap '{trap}' TERM; touch {0}/$(uname -n); while :; do sleep 0.1; done",
            home.path().display()
        );
        let mut exec = kmon_in(&home);
        exec.args(["exec", "all", "--", "sh", "-c", &script]);
        exec.stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let exec = exec.spawn().unwrap();
        let marks = ["part2", "part3"].map(|name| home.path().join(name));
        assert!(becomes_true(|| marks.iter().all(|mark| mark.exists())));
        for _ in 0..presses {
            common::signal("-INT", &exec.id().to_string());
            std::thread::sleep(std::time::Duration::from_millis(300));
        }
        let output = exec.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{}", stderr(&output));
        marks.iter().for_each(|mark| fs::remove_file(mark).unwrap());
    }
    assert_eq!(kmon.leave("quit --all"), Some(0));
}
