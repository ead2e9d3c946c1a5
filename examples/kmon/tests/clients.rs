//! Several clients of one server: prompts, scripts and single commands.

mod common;

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Fed, Home, Operator, SHELL_PROMPT, becomes_true, home, one_shot, signal};
use serde_json::Value;

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn list(home: &Home) -> Vec<Value> {
    let output = one_shot(home, &["list", "--json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let list: Value = serde_json::from_slice(&output.stdout).unwrap();
    list["instances"].as_array().unwrap().clone()
}

#[test]
fn two_terminals_see_one_console_and_the_second_takes_over() {
    let mut first = Operator::start(&["--instances", "1"]);
    first.console(2);
    let mut second = Operator::start_in(Arc::clone(&first.home), &[]);
    second.command("kmconsole 2");
    second.see("uses the console of instance 2; --view watches it, --force takes it");
    second.command("kmconsole 2 --view");
    second.see_last_line(SHELL_PROMPT);
    first.shell("echo both-$((1+1))");
    first.see("both-2");
    second.see("both-2");
    // A viewer cannot type, and its size does not count.
    second.resize(20, 60);
    second.press("echo never\r");
    second.see_printed("\x07");
    first.shell("stty size; echo typed-$((1+1))");
    first.see("40 150");
    second.see("typed-2");
    second.press("\x1d");
    second.command("kmconsole 2 --force");
    first.see("has taken the console; you only watch now");
    second.see_last_line(SHELL_PROMPT);
    second.press("stty size; echo mine-$((1+1))\r");
    second.see("20 60");
    first.see("mine-2");
    assert!(!first.printed().contains("never"));
    first.press("\x1d");
    second.press("\x1d");
    first.see_last_line("KMON#");
    assert_eq!(second.leave("quit --keep"), 0);
    assert_eq!(first.quit(), 0);
}

#[test]
fn both_terminals_continue_after_the_server_was_killed() {
    let mut first = Operator::start(&["--instances", "1"]);
    let mut second = Operator::start_in(Arc::clone(&first.home), &[]);
    first.console(2);
    first.shell("kept=yes; echo before-$((1+1))");
    first.see("before-2");
    second.command("kmconsole 2 --view");
    second.see_last_line(SHELL_PROMPT);
    first.home.signal_server("-KILL");
    for operator in [&first, &second] {
        operator.see("[kmon: the server had ended; continuing with another one]");
    }
    first.press("echo after-$kept-$((1+1))\r");
    for operator in [&mut first, &mut second] {
        operator.see("after-yes-2");
        operator.press("\x1d");
        operator.see_last_line("KMON#");
        // Nothing is shown twice.
        assert!(operator.printed().matches("before-2").count() <= 1);
    }
    second.clear();
    second.command("kmexec 2 -- uname -n");
    second.see("part2");
    // At the prompt, the next command finds the next server.
    first.home.signal_server("-KILL");
    second.clear();
    second.command("kmlist");
    second.see("part2");
    assert_eq!(second.leave("quit --keep"), 0);
    assert_eq!(first.quit(), 0);
}

#[test]
fn a_single_command_has_the_exit_status_of_its_command() {
    let home = home();
    let output = one_shot(&home, &["list", "--json"]);
    assert_eq!(stdout(&output), "{\"instances\":[]}\n");
    assert_eq!(output.status.code(), Some(0));
    let output = one_shot(&home, &["exec", "2", "--", "true"]);
    assert!(stderr(&output).starts_with("kmon: kmexec: no KMON server runs in"));
    assert_eq!(output.status.code(), Some(1));

    let mut kmon = Fed::start_in(&home, &["--instances", "1"]);
    kmon.list_until(2, |one| one["state"] == "running");
    let exec = |script: &str| one_shot(&home, &["exec", "2", "--", "sh", "-c", script]);
    let output = exec("echo out; echo err >&2; exit 7");
    assert_eq!(
        (stdout(&output), stderr(&output)),
        ("out\n".into(), "err\n".into())
    );
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(exec("kill -9 $$").status.code(), Some(128 + 9));
    for (arguments, status, says) in [
        (
            &["exec", "2", "--timeout", "0.2", "--", "sleep", "100"][..],
            124,
            "timed out after 0.2 s",
        ),
        (
            &["exec", "2", "--", "/no/such/program"],
            127,
            "/no/such/program",
        ),
        (
            &["exec", "9", "--", "true"],
            1,
            "there is no instance 9; the only one is 2",
        ),
        (&["exec"], 2, "not provided"),
        (&["xyzzy"], 2, "unknown command `xyzzy`"),
        (
            &["console", "2", "--view", "--force"],
            2,
            "cannot be used with",
        ),
    ] {
        let output = one_shot(&home, arguments);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}");
        let errors = stderr(&output);
        assert!(
            errors.contains(says) && errors.lines().count() == 1,
            "{errors}"
        );
    }
    assert_eq!(
        stdout(&one_shot(&home, &["halt", "2"])),
        "instance 2 is halted\n"
    );
    assert_eq!(
        stdout(&one_shot(&home, &["load", "2"])),
        "instance 2 is running\n"
    );
    assert!(stdout(&one_shot(&home, &["exec", "--help"])).contains("Usage: kmon exec"));
    // What a single command loads is not the script's.
    one_shot(&home, &["load", "--name", "kept"]);
    assert_eq!(list(&home).len(), 2);
    assert!(one_shot(&home, &["quit", "--all"]).status.success());
    assert!(becomes_true(|| !home.has_server()));
    assert!(home.recorded().is_empty());
}

#[test]
fn a_removed_instances_number_is_used_again() {
    let home = home();
    let mut kmon = Fed::start_in(&home, &["--instances", "2"]);
    kmon.list_until(2, |one| one["state"] == "running");
    let output = one_shot(&home, &["rm", "2"]);
    assert!(stderr(&output).contains("instance 2 is running; kmhalt 2 ends it first"));
    one_shot(&home, &["exec", "2", "--", "true"]);
    kmon.ask("kmhalt 2");
    assert_eq!(kmon.ask("kmrm 2"), b"instance 2 is removed\n");
    assert_eq!(kmon.ask("kmload --name again"), b"instance 2 is running\n");
    assert_eq!(kmon.ask("kmexec 2 -- uname -n"), b"again\n");
    assert_eq!(kmon.leave("quit"), Some(0));
}

#[test]
fn a_script_ends_only_what_it_has_started() {
    let operator = Operator::start(&["--instances", "1"]);
    let home = Arc::clone(&operator.home);
    let mut script = Fed::start_in(&home, &[]);
    assert_eq!(script.ask("kmload --name mine"), b"instance 3 is running\n");
    assert_eq!(script.leave("quit"), Some(0));
    let states: Vec<_> = list(&home).iter().map(|one| one["state"].clone()).collect();
    assert_eq!(states, ["running", "halted"]);
    // With a server, options for another one are refused.
    let output = one_shot(&home, &["--instances", "3"]);
    assert_eq!(output.status.code(), Some(1));
    let errors = stderr(&output);
    assert!(
        errors.contains("already runs in") && errors.contains("--instances"),
        "{errors}"
    );
    assert_eq!(operator.quit(), 0);
}

#[test]
fn quit_asks_and_end_of_input_leaves_the_prompt() {
    let mut kmon = Operator::start(&[]);
    let home = Arc::clone(&kmon.home);
    kmon.command("quit");
    kmon.see("2 instances run: end them, too? [y/N]");
    kmon.press("\r");
    assert_eq!(kmon.wait(), Some(0));
    assert_eq!((home.running().len(), home.has_server()), (2, true));
    let mut kmon = Operator::start_in(Arc::clone(&home), &[]);
    kmon.press("\x04");
    assert_eq!(kmon.wait(), Some(0));
    assert_eq!((home.running().len(), home.has_server()), (2, true));
    let mut kmon = Operator::start_in(Arc::clone(&home), &[]);
    kmon.command("quit");
    kmon.see("[y/N]");
    kmon.press("y\r");
    assert_eq!(kmon.wait(), Some(0));
    assert!(becomes_true(
        || home.running().is_empty() && !home.has_server()
    ));
}

#[test]
fn a_server_without_instances_and_clients_ends_by_itself() {
    let mut kmon = Operator::start(&["--instances", "1"]);
    let home = Arc::clone(&kmon.home);
    kmon.command("kmhalt 2");
    kmon.see("instance 2 is halted");
    assert_eq!(kmon.leave("quit"), 0);
    assert!(becomes_true(|| !home.has_server()));
    // The halted instance is still known.
    let mut kmon = Fed::start_in(&home, &["--instances", "1"]);
    assert_eq!(kmon.list(2)["state"], "halted");
}

#[test]
fn an_interrupt_in_a_flood_acts_at_once_and_reports_what_was_skipped() {
    let mut kmon = Operator::start(&["--instances", "1"]);
    kmon.console(2);
    kmon.shell("yes a-line-of-a-flood-that-is-long-enough-to-fill-every-buffer");
    kmon.see("a-line-of-a-flood");
    // A slow terminal: what it has not shown yet waits.
    kmon.stop_reading(true);
    std::thread::sleep(Duration::from_secs(1));
    kmon.press("\x03");
    std::thread::sleep(Duration::from_millis(100));
    let pressed = Instant::now();
    kmon.stop_reading(false);
    kmon.see_last_line(SHELL_PROMPT);
    println!("the prompt came after {:?}", pressed.elapsed());
    assert!(pressed.elapsed() < Duration::from_secs(5));
    kmon.see_printed("bytes were skipped]");
    kmon.shell("echo alive-$((40+2))");
    kmon.see("alive-42");
    kmon.press("\x1d");
    kmon.command("kmexec 2 -- yes flood");
    kmon.see("flood");
    kmon.stop_reading(true);
    std::thread::sleep(Duration::from_secs(1));
    kmon.press("\x03");
    std::thread::sleep(Duration::from_millis(100));
    let pressed = Instant::now();
    kmon.stop_reading(false);
    kmon.see("kmexec: killed by signal");
    kmon.see("bytes of output were skipped");
    assert!(pressed.elapsed() < Duration::from_secs(5));
    assert_eq!(kmon.quit(), 0);
}

#[test]
fn a_viewer_that_reads_nothing_delays_nobody_and_learns_what_it_missed() {
    let mut slow = Operator::start(&["--instances", "1"]);
    slow.command("kmconsole 2 --view");
    slow.see_last_line(SHELL_PROMPT);
    slow.stop_reading(true);
    let mut writer = Operator::start_in(Arc::clone(&slow.home), &[]);
    writer.console(2);
    let begun = Instant::now();
    writer
        .shell("yes 0123456789012345678901234567890123456789 | head -c 4000000; echo end-$((1+1))");
    writer.see("end-2");
    println!(
        "4 MB took {:?} beside a viewer that reads nothing",
        begun.elapsed()
    );
    assert!(begun.elapsed() < Duration::from_secs(30));
    slow.stop_reading(false);
    slow.see_printed("bytes were dropped and are not shown]");
    slow.see("end-2");
    writer.press("\x1d");
    assert_eq!(writer.quit(), 0);
}

#[test]
fn the_scrollback_of_a_dead_instance_can_be_seen() {
    let mut kmon = Operator::start(&["--instances", "1"]);
    kmon.console(2);
    kmon.shell("echo last-$((1+1))-words");
    kmon.see("last-2-words");
    kmon.press("\x1d?");
    kmon.see("^] leaves the console; ^]^] sends one ^]; ^]? shows this");
    signal("-KILL", &kmon.home.running()[0].to_string());
    kmon.see("press Enter to leave its console## #");
    kmon.press("exit\r");
    kmon.see("instance 2 died: its first process was killed by signal 9");
    kmon.clear();
    kmon.command("kmconsole 2 --view --scrollback");
    kmon.see("last-2-words");
    kmon.see("## #instance 2: dead");
    kmon.press("\r");
    kmon.see_last_line("KMON#");
    assert_eq!(kmon.quit(), 0);
}

#[test]
fn racing_clients_end_up_with_one_server() {
    let home = home();
    // The one that starts the server has its guestd from here.
    let program = home.path().join("kmon");
    std::os::unix::fs::symlink(common::guestd(), home.path().join("guestd")).unwrap();
    std::fs::copy(common::kmon(), &program).unwrap();
    let start = |_| {
        let mut client = std::process::Command::new(&program);
        client
            .arg("--run-dir")
            .arg(home.run_dir())
            .current_dir(home.path());
        client
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let clients: Vec<_> = (0..4).map(start).collect();
    // A client that did not start the server does not wait for the instances.
    let runs = || list(&home).iter().any(|one| one["state"] == "running");
    assert!(becomes_true(runs));
    for mut client in clients {
        let mut commands = client.stdin.take().unwrap();
        commands
            .write_all(b"kmexec 2 -- uname -n\nquit --keep\n")
            .unwrap();
        let output = client.wait_with_output().unwrap();
        assert_eq!(stdout(&output), "part2\n");
    }
    assert_eq!(home.running().len(), 2);
    one_shot(&home, &["quit", "--all"]);
}

#[test]
fn the_run_directory_is_closed_unless_others_have_a_role() {
    let home = home();
    let mode =
        |path: std::path::PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let kmon = Fed::start_in(&home, &["--instances", "1"]);
    assert!(becomes_true(|| home.has_server()));
    assert_eq!(mode(home.run_dir()), 0o700);
    assert_eq!(mode(home.run_dir().join("kmon.sock")), 0o600);
    assert_eq!(kmon.leave("quit"), Some(0));

    let config = home.path().join("kmon.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(
        &config,
        text + "\n[access]\nview = ['12345']\noperate = ['12346']\n",
    )
    .unwrap();
    let mut kmon = Fed::start_in(&home, &["--instances", "1"]);
    kmon.list_until(2, |one| one["state"] == "running");
    assert_eq!(mode(home.run_dir()), 0o711);
    assert_eq!(mode(home.run_dir().join("kmon.sock")), 0o666);
    for file in ["2.json", "2.log", "2.kernel", "kmon.log", "server.json"] {
        assert_eq!(mode(home.run_dir().join(file)), 0o600, "{file}");
    }
    if !nix::unistd::geteuid().is_root() {
        eprintln!("the rest is skipped: it needs root, to become other users");
        return;
    }
    std::fs::set_permissions(home.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let status_for = |uid: &str, method: &str, path: &str| {
        let script = format!(
            "curl -s -o /dev/null -w '%{{http_code}}' -X {method} --unix-socket {}/kmon.sock http://kmon{path}",
            home.run_dir().display()
        );
        let mut command = std::process::Command::new("setpriv");
        command.args([
            "--reuid",
            uid,
            "--regid",
            uid,
            "--clear-groups",
            "sh",
            "-c",
            &script,
        ]);
        stdout(&command.output().unwrap())
    };
    for (uid, method, path, status) in [
        ("12345", "GET", "/v1/instances", "200"),
        ("12345", "POST", "/v1/instances/2/halt", "403"),
        ("12345", "POST", "/v1/shutdown", "403"),
        ("12346", "POST", "/v1/instances/2/reset", "200"),
        ("12346", "DELETE", "/v1/instances/2", "403"),
        ("12347", "GET", "/version", "403"),
    ] {
        assert_eq!(
            status_for(uid, method, path),
            status,
            "{uid} {method} {path}"
        );
    }
    kmon.see_error("12345 (process ");
    kmon.see_error("tried POST /v1/shutdown without the role administer");
    kmon.leave("quit");
}

#[test]
fn a_server_of_a_service_manager_reports_that_it_is_ready_and_ends_on_request() {
    let home = home();
    let socket = home.path().join("notify");
    let notify = std::os::unix::net::UnixDatagram::bind(&socket).unwrap();
    notify.set_read_timeout(Some(common::PATIENCE)).unwrap();
    let serve = |home: &Home| {
        let mut server = common::kmon_in(home);
        server.args(["serve", "--instances", "1", "--guestd"]);
        server.arg(common::guestd());
        server
    };
    let mut server = serve(&home).env("NOTIFY_SOCKET", &socket).spawn().unwrap();
    let told = || {
        let mut bytes = [0; 100];
        let len = notify.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..len]).trim().to_owned()
    };
    assert_eq!(told(), "READY=1");
    assert_eq!(list(&home)[0]["state"], "running");
    // A second server is refused.
    let output = one_shot(&home, &["serve"]);
    assert!(stderr(&output).contains(&format!("another KMON (process {})", server.id())));
    // A console continues with the next server.
    let home = Arc::new(home);
    let mut operator = Operator::start_in(Arc::clone(&home), &[]);
    operator.console(2);
    operator.shell("kept=yes");
    operator.see_last_line(SHELL_PROMPT);
    signal("-TERM", &server.id().to_string());
    assert_eq!(told(), "STOPPING=1");
    assert!(server.wait().unwrap().success());
    assert_eq!(home.running().len(), 1);
    let mut server = serve(&home);
    let mut server = server.env("NOTIFY_SOCKET", &socket).spawn().unwrap();
    assert_eq!(told(), "READY=1");
    operator.see("the server had ended; continuing with another one]");
    operator.press("echo $kept-$((1+1))\r");
    operator.see("yes-2");
    operator.press("\x1d");
    operator.see("continuing with the instances of an earlier KMON: 2");
    assert_eq!(operator.quit(), 0);
    assert_eq!(told(), "STOPPING=1");
    assert!(server.wait().unwrap().success());
    assert!(home.running().is_empty());
}
