//! Runs KMON with scripts, and checks its output and its exit status.

mod common;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};

use common::{Fed, home, run_script, run_script_in};
use serde_json::Value;

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{}", stderr(output));
    assert_eq!(stderr(output), "");
    stdout(output)
}

#[test]
fn a_script_prints_its_commands_results_and_nothing_else() {
    let script =
        "# a comment\n\nkmlist --json\nkmexec 2 -- uname -n\nkmmonitorall -n 1 --json\nquit\n";
    let output = succeeded(&run_script(&["--instances", "2"], script));
    let lines: Vec<_> = output.lines().collect();
    assert_eq!(lines.len(), 3, "{output}");
    let list: Value = serde_json::from_str(lines[0]).unwrap();
    assert_eq!(list["instances"][0]["number"], 2);
    assert_eq!(list["instances"][1]["state"], "running");
    assert_eq!(lines[1], "part2");
    let tick: Value = serde_json::from_str(lines[2]).unwrap();
    assert!(tick["instances"][1]["interval_s"].as_f64().unwrap() > 0.0);
    assert!(tick["instances"][1]["cpu"]["percent"].is_number());
}

#[test]
fn a_console_in_a_script_runs_its_lines_one_after_the_other() {
    let script = "kmconsole 2\nsleep 0.5; echo one-$((1+1))\necho two-$((1+1))\nkmexitconsole\n\
                  kmconsole 3\nhostname\nkmexitconsole\nkmexec 2 -- echo last\n";
    let output = succeeded(&run_script(&[], script));
    let places: Vec<_> = [
        "## #kmconsole done, cmd_redirection=2## #\n",
        "\none-2",
        "\ntwo-2",
        "## #kmconsole done, cmd_redirection=3## #\n",
        "\npart3",
        "\nlast\n",
    ]
    .iter()
    .map(|text| {
        output
            .find(text)
            .unwrap_or_else(|| panic!("no {text:?} in {output}"))
    })
    .collect();
    assert!(places.is_sorted(), "{output}");
    assert!(!output.contains("kmexitconsole") && !output.contains("KMON#"));
}

#[test]
fn an_exec_reports_output_and_failure() {
    let script = "kmexec 2 -- sh -c 'echo out; echo err >&2; exit 3'\n";
    let output = run_script(&[], script);
    assert_eq!(stdout(&output), "out\n");
    assert_eq!(stderr(&output), "err\nkmexec: exit status 3\n");
    assert_eq!(output.status.code(), Some(1));

    let script = "kmexec 2 --timeout 0.3 -- sleep 100\nkmexec 2 -- sh -c 'kill -9 $$'\n\
                  kmexec 2 -- /no/such/program\nkmexec 2 --json -- sh -c 'printf a; exit 4'\n";
    let output = run_script(&[], script);
    let errors = stderr(&output);
    for text in [
        "timed out after 0.3 s",
        "killed by signal 9",
        "/no/such/program",
        "exit status 4",
    ] {
        assert!(errors.contains(text), "{errors}");
    }
    assert_eq!(errors.lines().count(), 4, "{errors}");
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(
        (&report["stdout"], &report["exit_status"]),
        (&"a".into(), &4.into())
    );
}

#[test]
fn an_execs_long_output_arrives_whole() {
    let script = "kmexec 2 -- sh -c 'yes 0123456789 | head -c 5000000'\n";
    let output = succeeded(&run_script(&[], script));
    let line = "0123456789\n";
    assert_eq!(output.len(), 5_000_000);
    assert!(
        output
            .as_bytes()
            .chunks(line.len())
            .all(|chunk| line.as_bytes().starts_with(chunk))
    );
}

#[test]
fn unseen_output_stays_in_the_log_until_kmwatch_shows_it() {
    let home = common::home();
    let script = format!(
        "kmconsole 2\n\
         (until [ -e go ]; do sleep 0.1; done; echo unseen-$((1+1)); : > done) &\n\
         kmexitconsole\n\
         kmexec 2 -- sh -c 'cd {}; : > go; until [ -e done ]; do sleep 0.1; done; sleep 1'\n\
         kmlog 2\nkmlog 2\nkmwatch 2 2 3 --for 0.2\nkmlog 2\n",
        home.path().display()
    );
    let output = succeeded(&common::run_script_in(&home, &[], &script));
    let shown = output.matches("unseen-2").count();
    assert_eq!(shown, 3, "only kmwatch marks output as seen: {output}");
}

#[test]
fn instances_are_loaded_halted_and_reset() {
    let script = "kmhalt 3\nkmload 3\nkmload --name web\nkmexec 4 -- uname -n\nkmreset 4\n\
                  kmexec 4 -- uname -n\nkmhalt 4 --force\nkmlist --json\n";
    let output = succeeded(&run_script(&[], script));
    let lines: Vec<_> = output.lines().collect();
    assert_eq!(
        lines[..4],
        [
            "instance 3 is halted",
            "instance 3 is running",
            "instance 4 is running",
            "web"
        ]
    );
    assert_eq!(
        lines[4..7],
        ["instance 4 is running", "web", "instance 4 is halted"]
    );
    let list: Value = serde_json::from_str(lines[7]).unwrap();
    assert_eq!(list["instances"][2]["state"], "halted");
}

#[test]
fn bad_input_is_refused_in_one_line_with_advice() {
    let answers = [
        (
            "kmconsol 2",
            "unknown command `kmconsol`; did you mean kmconsole?",
        ),
        ("xyzzy", "unknown command `xyzzy`; help lists the commands"),
        (
            "kmexec 9 ls",
            "kmexec: there is no instance 9; instances count from 2 to 3",
        ),
        (
            "kmexitconsole",
            "kmexitconsole: not in a console; kmconsole N enters instance N",
        ),
        (
            "kmload 2",
            "kmload: instance 2 is already running; kmreset 2 starts it again",
        ),
        (
            "kmhalt 3\nkmexec 3 ls",
            "kmexec: instance 3 is not running (halted); kmload 3 starts it",
        ),
        (
            "help kmx",
            "help: there is no command `kmx`; help alone lists them",
        ),
        (
            "kmexec 2 'ls",
            "a quote is not closed, or the line ends with a backslash",
        ),
    ];
    let script: String = answers
        .iter()
        .map(|(line, _)| format!("{line}\n"))
        .collect();
    let output = run_script(&[], &script);
    let errors = stderr(&output);
    assert_eq!(
        errors.lines().collect::<Vec<_>>(),
        answers.map(|(_, answer)| answer)
    );
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn the_lines_for_a_refused_console_are_not_run_as_commands() {
    let script = "kmconsole 9\nkmhalt 2\nquit\nkmexitconsole\nkmexec 2 -- echo still\n";
    let output = run_script(&[], script);
    assert_eq!(stdout(&output), "still\n");
    let errors = stderr(&output);
    assert!(errors.contains("kmconsole: 2 lines up to kmexitconsole were skipped"));
    assert_eq!(errors.lines().count(), 2, "{errors}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_console_fails_if_a_line_does_not_end_in_time() {
    let script = "kmconsole 2 --settle 1\nsed 's/^/got-/;q'\nit\nkmexitconsole\n";
    let output = run_script(&["--instances", "1"], script);
    let errors = stderr(&output);
    assert!(
        errors.contains("`sed 's/^/got-/;q'` has not ended after 1 s"),
        "{errors}"
    );
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(stdout(&output).contains("got-it"), "{}", stdout(&output));
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn an_instance_has_its_own_pseudo_terminals() {
    let pair = nix::pty::openpty(None, None).unwrap();
    let script = "kmexec 2 -- ls /dev/pts\nkmexec 2 -- stat -c %a /dev/pts/ptmx\n\
                  kmconsole 2\ntty\nkmexitconsole\n";
    let output = succeeded(&run_script(&["--instances", "1"], script));
    assert!(output.starts_with("0\nptmx\n666\n"), "{output}");
    assert!(output.contains("/dev/pts/0"), "{output}");
    drop(pair);
}

#[test]
fn a_script_without_a_running_instance_fails() {
    let output = run_script(&["--guestd", "/bin/false"], "kmlist --json\n");
    assert!(stdout(&output).contains("dead"));
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_tick_reports_whether_its_reading_is_new() {
    let script = "kmmonitorall -n 9 -d 0.05 --json\n";
    let output = succeeded(&run_script(&["--instances", "1"], script));
    let new = |line: &str| {
        let tick: Value = serde_json::from_str(line).unwrap();
        tick["instances"][0]["new"].as_bool().unwrap()
    };
    let new: Vec<_> = output.lines().map(new).collect();
    assert!(new[0] && new.contains(&false), "{new:?}");
}

#[test]
fn names_are_checked_and_input_in_errors_is_escaped() {
    let long = "x".repeat(1000);
    let script = format!("kmload --name part2\n{long}\n\x1b[2J\nkmlist \x1b]0;\n\0\n");
    let output = run_script(&["--instances", "1"], &script);
    let errors = stderr(&output);
    assert!(errors.starts_with("kmload: `part2` is already the name of instance 2"));
    assert!(errors.contains("line 5 of the script contains a NUL byte"));
    assert_eq!(errors.lines().count(), 5, "{errors}");
    let is_safe = |line: &str| line.len() < 200 && !line.contains(char::is_control);
    assert!(errors.lines().all(is_safe), "{errors}");
}

#[test]
fn a_failed_start_is_reported_in_one_line() {
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("typo.toml");
    std::fs::write(&config, "[kmon]\npromt = 'x'\n").unwrap();
    let config = config.to_str().unwrap();
    for (arguments, text) in [
        (
            &["--config", config][..],
            "typo.toml:2: key promt: unknown field",
        ),
        (
            &["--config", "/no/such.toml"],
            "/no/such.toml cannot be read",
        ),
        (
            &["--guestd", "/no/guestd"],
            "/no/guestd does not exist; build guestd",
        ),
        (&["--guestd", "/bin"], "/bin is not an executable file"),
        (
            &["--guestd", "/etc/passwd"],
            "/etc/passwd is not an executable file",
        ),
        (&["--instances", "999"], "999"),
        (&["--escape", "x"], "not a control key"),
        (&["--colour"], "unexpected argument '--colour'"),
    ] {
        let mut kmon = Command::new(env!("CARGO_BIN_EXE_kmon"));
        kmon.arg("--run-dir").arg(home.path().join("run"));
        kmon.args(arguments).stdin(Stdio::null());
        let output = kmon.current_dir(home.path()).output().unwrap();
        let errors = stderr(&output);
        assert!(!output.status.success());
        assert!(errors.contains(text), "{errors}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
    }
}

#[test]
fn a_program_for_another_architecture_is_not_run_as_a_script() {
    let home = home();
    let program = home.path().join("foreign");
    let image = [
        b"\x7fELF\x02\x01\x01".as_slice(),
        &[0; 57],
        b"\necho run as a script\n",
    ];
    std::fs::write(&program, image.concat()).unwrap();
    std::fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    let script = format!("kmexec 2 -- {}\nkmexec 2 -- echo well\n", program.display());
    let output = run_script_in(&home, &["--instances", "1"], &script);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("Exec format error"), "{errors}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "well\n");
}

#[test]
fn an_instance_that_cannot_be_recorded_is_not_killed_by_a_reset() {
    let home = home();
    let mut kmon = Fed::start_in(&home, &["--instances", "1"]);
    kmon.list_until(2, |one| one["state"] == "running");
    // A full disk would have the same effect.
    std::fs::create_dir(home.run_dir().join("2.new")).unwrap();
    kmon.ask("kmreset 2");
    kmon.see_error("cannot be written");
    assert_eq!(kmon.ask("kmexec 2 -- echo unharmed"), b"unharmed\n");
    kmon.leave("quit");
}
