//! Kills guestd, KMON, or both, and checks that all state is restored and nothing else changes.

mod common;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{
    Fed, Operator, SHELL_PROMPT, assert_back, becomes_true, guestd, home, kmon_through, signal,
};

/// Waits until a file has a whole line, and returns its content.
fn content(file: &Path) -> String {
    let mut text = String::new();
    let written = becomes_true(|| {
        text = fs::read_to_string(file).unwrap_or_default();
        text.ends_with('\n')
    });
    assert!(written, "nothing in {}", file.display());
    text
}

#[test]
fn a_console_continues_with_a_new_shell_after_guestd_was_killed() {
    let mut kmon = Operator::start(&["--instances", "1"]);
    let pid = kmon.daemon_pid(2);
    kmon.console(2);
    kmon.shell("incarnation=first; echo before-$((1+1))");
    kmon.see("before-2");
    kmon.see_last_line(SHELL_PROMPT);
    let killed = Instant::now();
    signal("-KILL", &pid);
    kmon.see("[kmon: guestd was restarted (incarnation 2): a new shell]");
    assert_back("guestd", killed.elapsed());
    kmon.shell("echo after-$incarnation-$((1+1))");
    kmon.see("after--2");
    kmon.see_last_line(SHELL_PROMPT);
    kmon.press("\x1d");
    kmon.see("instance 2: guestd was killed by signal 9; starting it again");
    kmon.see("instance 2: guestd was restarted (incarnation 2)");
    kmon.see_last_line("KMON#");
    kmon.clear();
    kmon.command("kmlist");
    kmon.see("running, incarnation 2");
    // The log has the output of both shells.
    kmon.clear();
    kmon.command("kmlog 2 --all");
    kmon.see("before-2");
    kmon.see("after--2");
    assert_eq!(kmon.quit(), 0);
}

#[test]
fn a_full_screen_program_that_dies_with_guestd_leaves_the_terminal_usable() {
    let mut kmon = Operator::start(&["--instances", "1"]);
    let pid = kmon.daemon_pid(2);
    kmon.console(2);
    kmon.shell("vi note");
    kmon.see_alternate(true);
    signal("-KILL", &pid);
    kmon.see_alternate(false);
    kmon.shell("echo after-$((1+1))");
    kmon.see("after-2");
}

#[test]
fn input_and_commands_for_a_dead_guestd_are_not_run_by_the_next() {
    let mut kmon = Operator::start(&["--instances", "1"]);
    let file = kmon.home.path().join("ran");
    let ran = file.display();
    let pid = kmon.daemon_pid(2);
    kmon.console(2);
    signal("-STOP", &pid);
    kmon.press("echo typed >> ran\r");
    std::thread::sleep(Duration::from_millis(300));
    signal("-KILL", &pid);
    kmon.see("guestd was restarted (incarnation 2)");
    kmon.shell("echo fresh >> ran");
    assert_eq!(content(&file), "fresh\n");
    kmon.press("\x1d");
    kmon.see("sent before a restart and will not run");

    let pid = kmon.daemon_pid(2);
    signal("-STOP", &pid);
    kmon.command(&format!("kmexec 2 -- sh -c 'echo executed >> {ran}'"));
    std::thread::sleep(Duration::from_millis(300));
    signal("-KILL", &pid);
    kmon.see("kmexec: guestd of instance 2 died, and the command was killed");
    kmon.see("guestd was restarted (incarnation 3)");
    // A command that has started is reported as lost, too.
    let pid = kmon.daemon_pid(2);
    kmon.command(&format!(
        "kmexec 2 -- sh -c 'echo begun-$((1+1)); sleep 100; echo slept >> {ran}'"
    ));
    kmon.see("begun-2");
    signal("-KILL", &pid);
    kmon.see("kmexec: guestd of instance 2 died, and the command was killed");
    kmon.see("guestd was restarted (incarnation 4)");
    kmon.command(&format!("kmexec 2 -- sh -c 'echo last >> {ran}'"));
    let expected = "fresh\nlast\n";
    let last = becomes_true(|| content(&file).contains("last"));
    assert!(last && content(&file) == expected, "{}", content(&file));
    assert_eq!(kmon.quit(), 0);
}

#[test]
fn a_new_kmon_continues_where_the_killed_one_stopped() {
    let mut kmon = Operator::start(&[]);
    kmon.console(2);
    kmon.shell("kept=yes; echo $$ > pid; (sleep 1; echo later-$((2+2))) &");
    let shell = content(&kmon.home.path().join("pid"));
    let killed = Instant::now();
    let home = kmon.kill();
    let mut kmon = Operator::start_in(home, &[]);
    assert_back("KMON", killed.elapsed());
    kmon.see("continuing with the instances of an earlier KMON: 2, 3");
    kmon.console(2);
    // Output since then is shown now, and nothing is shown twice.
    kmon.see("later-4");
    assert!(!kmon.printed().contains("kept=yes"));
    kmon.press("\r");
    kmon.shell("echo $kept-$$");
    kmon.see(&format!("yes-{}", shell.trim()));
    kmon.press("\x1d");
    kmon.command("kmexec 3 -- uname -n");
    kmon.see("part3");
    // It can be killed repeatedly.
    let mut kmon = Operator::start_in(kmon.kill(), &[]);
    kmon.console(2);
    kmon.shell("echo still-$kept");
    kmon.see("still-yes");
    kmon.press("\x1d");
    let home = Arc::clone(&kmon.home);
    let instances = home.running();
    assert_eq!((instances.len(), kmon.quit()), (2, 0));
    assert!(becomes_true(|| !instances
        .iter()
        .any(|&pid| is_running(pid))));
    assert!(home.recorded().is_empty());
}

fn is_running(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

#[test]
fn seen_and_unseen_output_outlive_kmon() {
    let home = home();
    let mut kmon = Fed::start_in(&home, &["--instances", "1"]);
    kmon.ask("kmconsole 2\necho seen-$((1+1))\n(until [ -e go ]; do sleep 0.1; done; echo unseen-$((1+1)); : > done) &\nkmexitconsole");
    fs::write(home.path().join("go"), "").unwrap();
    assert!(becomes_true(|| home.path().join("done").exists()));
    let unseen = |one: &serde_json::Value| one["unseen_bytes"].as_u64() > Some(0);
    let before = kmon.list_until(2, unseen);
    kmon.kill();
    let mut kmon = Fed::start_in(&home, &["--instances", "1"]);
    let after = kmon.list(2);
    for what in [
        "number",
        "name",
        "pid",
        "unseen_bytes",
        "dropped_bytes",
        "incarnation",
    ] {
        assert_eq!(after[what], before[what], "{what}");
    }
    let unseen = String::from_utf8(kmon.ask("kmlog 2")).unwrap();
    assert!(
        unseen.contains("unseen-2") && !unseen.contains("seen-2\r\nseen"),
        "{unseen:?}"
    );
    let all = String::from_utf8(kmon.ask("kmlog 2 --all")).unwrap();
    assert!(
        all.contains("\nseen-2\r\n") && all.ends_with(&unseen),
        "{all:?}"
    );
    kmon.ask("kmwatch 2 --for 0.2");
    assert_eq!(kmon.list(2)["unseen_bytes"], 0);
    // After a reset, which makes a new region, the output is still there.
    kmon.ask("kmreset 2");
    let all = String::from_utf8(kmon.ask("kmlog 2 --all")).unwrap();
    assert!(all.contains("\nseen-2\r\n"), "{all:?}");
    assert_eq!(kmon.leave("quit"), Some(0));
}

#[test]
fn commands_that_are_pending_when_kmon_is_killed_never_run() {
    let mut kmon = Operator::start(&["--instances", "1"]);
    let file = kmon.home.path().join("ran");
    let ran = file.display();
    let pid = kmon.daemon_pid(2);
    kmon.console(2);
    signal("-STOP", &pid);
    kmon.press("echo typed >> ran\r\x1d");
    kmon.see_last_line("KMON#");
    kmon.command(&format!("kmexec 2 -- sh -c 'echo executed >> {ran}'"));
    std::thread::sleep(Duration::from_millis(300));
    let mut kmon = Operator::start_in(kmon.kill(), &["--instances", "1"]);
    signal("-CONT", &pid);
    kmon.see("sent before a restart and will not run");
    kmon.console(2);
    kmon.shell("echo fresh >> ran");
    assert_eq!(content(&file), "fresh\n");
    kmon.press("\x1d");
    assert_eq!(kmon.daemon_pid(2), pid);
    assert_eq!(content(&file), "fresh\n");
    assert_eq!(kmon.quit(), 0);
}

#[test]
fn kmon_and_guestd_may_die_in_either_order() {
    let home = Arc::new(home());
    let mut incarnation = 1;
    for guestd_first in [true, false] {
        let mut kmon = Operator::start_in(Arc::clone(&home), &["--instances", "1"]);
        let pid = kmon.daemon_pid(2);
        let killed = Instant::now();
        if guestd_first {
            signal("-KILL", &pid);
            kmon.kill();
        } else {
            kmon.kill();
            signal("-KILL", &pid);
        }
        let mut kmon = Operator::start_in(Arc::clone(&home), &["--instances", "1"]);
        incarnation += 1;
        kmon.command("kmlist");
        kmon.see(&format!("running, incarnation {incarnation}"));
        assert_back("both", killed.elapsed());
        kmon.console(2);
        kmon.shell("echo works-$((1+1))");
        kmon.see("works-2");
        kmon.press("\x1d");
        kmon.command("kmlog 2 --all");
        kmon.see(&format!("guestd was restarted (incarnation {incarnation})"));
        kmon.kill();
    }
}

#[test]
fn quit_with_keep_and_a_clean_end_of_the_server_leave_the_instances() {
    let home = home();
    let mut kmon = Fed::start_in(&home, &[]);
    kmon.ask("kmconsole 2\nkept=yes\nkmexitconsole\nkmhalt 3");
    assert_eq!(kmon.leave("quit --keep"), Some(0));
    assert_eq!(home.running().len(), 1);
    assert!(home.has_server());
    home.signal_server("-TERM");
    assert_eq!((home.running().len(), home.has_server()), (1, false));
    let mut kmon = Fed::start_in(&home, &[]);
    // A halted instance stays halted.
    assert_eq!(kmon.list(3)["state"], "halted");
    let said = kmon.ask("kmconsole 2\necho $kept-$((1+1))\nkmexitconsole");
    assert!(String::from_utf8_lossy(&said).contains("yes-2"));
    assert_eq!(kmon.list(2)["incarnation"], 1);
    let instances = home.running();
    // The script has started this server: its end ends the instances.
    assert_eq!(kmon.leave("# the end"), Some(0));
    assert!(!instances.iter().any(|&pid| is_running(pid)));
    assert!(home.recorded().is_empty());
}

#[test]
fn a_kmon_in_another_time_namespace_finds_the_instances() {
    let time = ["unshare", "--fork", "-T", "--boottime", "1000"];
    let tried = Command::new(time[0]).args(&time[1..]).arg("true").status();
    if !tried.is_ok_and(|status| status.success()) {
        eprintln!("skipped: no time namespaces here");
        return;
    }
    let home = home();
    let mut kmon = Fed::start_in(&home, &["--instances", "1"]);
    kmon.ask("kmexec 2 -- true");
    assert_eq!(kmon.leave("quit --keep"), Some(0));
    home.signal_server("-TERM");
    let instances = home.running();
    let mut there = kmon_through(&time, &home);
    there.args(["--instances", "1", "--guestd"]).arg(guestd());
    let mut there = there.stdin(Stdio::piped()).spawn().unwrap();
    let mut commands = there.stdin.take().unwrap();
    commands
        .write_all(b"kmexec 2 -- true\nquit --keep\n")
        .unwrap();
    assert!(there.wait().unwrap().success());
    home.signal_server("-TERM");
    assert_eq!(home.running(), instances, "the same instances");
    let mut kmon = Fed::start_in(&home, &["--instances", "1"]);
    assert_eq!(kmon.list(2)["incarnation"], 1);
    assert_eq!(kmon.leave("quit"), Some(0));
}

#[test]
fn a_signal_that_ends_a_prompt_leaves_the_server_and_the_instances() {
    let home = Arc::new(home());
    for (name, status) in [("-HUP", 129), ("-TERM", 143)] {
        let arguments: &[&str] = match home.has_server() {
            true => &[],
            false => &["--instances", "1"],
        };
        let kmon = Operator::start_in(Arc::clone(&home), arguments);
        signal(name, &kmon.pid());
        assert_eq!(kmon.wait(), Some(status));
        assert_eq!(home.running().len(), 1, "{name}");
    }
    assert_eq!(Operator::start_in(Arc::clone(&home), &[]).quit(), 0);
    assert!(home.running().is_empty());
}

#[test]
fn a_lost_instance_is_reported_and_replaced() {
    let home = home();
    let mut kmon = Fed::start_in(&home, &[]);
    kmon.ask("kmexec 2 -- true");
    let instances = home.running();
    kmon.kill();
    for &pid in &instances {
        signal("-KILL", &pid.to_string());
    }
    assert!(becomes_true(|| !instances
        .iter()
        .any(|&pid| is_running(pid))));
    let mut kmon = Fed::start_in(&home, &[]);
    assert_eq!(kmon.ask("kmexec 2 -- uname -n"), b"part2\n");
    kmon.see_error("instance 2 of an earlier KMON is lost (process");
    assert_eq!(kmon.leave("quit"), Some(0));
}

#[test]
fn an_instance_with_an_invalid_region_is_killed_and_replaced() {
    let home = home();
    let mut kmon = Fed::start_in(&home, &["--instances", "1"]);
    kmon.ask("kmexec 2 -- true");
    let instance = home.running()[0];
    kmon.kill();
    let mut options = fs::OpenOptions::new();
    let region = options.write(true).open(format!("/proc/{instance}/fd/0"));
    let region = region.unwrap();
    std::os::unix::fs::FileExt::write_all_at(&region, &[0; 64], 0).unwrap();
    let mut kmon = Fed::start_in(&home, &["--instances", "1"]);
    assert_eq!(kmon.ask("kmexec 2 -- uname -n"), b"part2\n");
    kmon.see_error("instance 2 of an earlier KMON is lost (region: not a region");
    assert!(becomes_true(|| !is_running(instance)));
    assert_eq!(kmon.leave("quit"), Some(0));
}

#[test]
fn the_next_kmon_finds_all_processes_of_a_kmon_that_was_killed_while_it_started() {
    let home = home();
    for pause in (0..150).step_by(10) {
        let kmon = Fed::start_in(&home, &[]);
        std::thread::sleep(Duration::from_millis(pause));
        kmon.kill();
    }
    let mut kmon = Fed::start_in(&home, &[]);
    for number in [2, 3] {
        let name = format!("part{number}\n");
        assert_eq!(
            kmon.ask(&format!("kmexec {number} -- uname -n")),
            name.as_bytes()
        );
    }
    assert_eq!(kmon.leave("quit"), Some(0));
    // Every process of an instance has the shell's path on its command line.
    let path = home.path().to_str().unwrap();
    let ours = || {
        let processes = procfs::process::all_processes().unwrap();
        let lines = processes.filter_map(|process| process.ok()?.cmdline().ok());
        lines
            .filter(|line| line.iter().any(|word| word.contains(path)))
            .count()
    };
    assert!(
        becomes_true(|| ours() == 0),
        "{} processes are left",
        ours()
    );
}
