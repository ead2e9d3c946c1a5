//! Tests the console's input and output.

use std::thread;
use std::time::{Duration, Instant};

use kmon_protocol::{Command, Sent};

use crate::monitor::{BASH, Instance, PATIENCE, SH, runs};

#[test]
fn the_shell_runs_typed_commands() {
    let mut instance = Instance::start();
    instance.type_in("echo $((6 * 7))-$TERM-$HOME; umask; pwd\r");
    instance.until_printed("42-");
}

#[test]
fn the_shell_has_its_own_terminal_and_no_descriptor_of_the_daemon() {
    let mut instance = Instance::start();
    instance.type_in("tty && echo o''wn; ls -l /proc/$$/fd | grep -c memfd\r");
    instance.until_printed("own\r\n0\r\n");
    assert!(instance.seen.has_printed("/dev/pts/"));
}

#[test]
fn the_shell_is_started_as_a_login_shell() {
    // A program that reads no start-up file as a login shell.
    let mut instance = Instance::with_shell("/bin/cat");
    let daemon = instance.daemon.as_ref().unwrap().id();
    instance.type_in("ready\r");
    instance.until_printed("ready\r\nready");
    let name = |pid: &str| std::fs::read_to_string(format!("/proc/{pid}/cmdline"));
    let shells: Vec<_> = procfs::process::all_processes()
        .unwrap()
        .filter_map(|process| process.ok()?.stat().ok())
        .filter(|stat| stat.ppid == daemon.cast_signed())
        .map(|stat| name(&stat.pid.to_string()).unwrap())
        .collect();
    assert_eq!(shells, ["-cat\0"]);
}

#[test]
fn every_byte_value_passes_in_raw_mode_in_both_directions() {
    let mut instance = Instance::start();
    instance.type_in("stty raw -echo; printf GO%s GO; head -c 512; printf END%s END; stty sane\r");
    instance.until_printed("GOGO");
    let bytes: Vec<u8> = (0..=255).chain((0..=255).rev()).collect();
    instance.send(Command::Input(&bytes));
    instance.until_printed("ENDEND");
    let console = &instance.seen.console;
    let at = console
        .windows(4)
        .position(|window| window == b"GOGO")
        .unwrap()
        + 4;
    assert_eq!(console[at..at + 512], bytes);
    assert!(console[at + 512..].starts_with(b"ENDEND"));
}

#[test]
fn a_new_size_reaches_the_terminal_and_signals_the_foreground() {
    let mut instance = Instance::with_shell(BASH);
    instance.type_in("stty size\r");
    instance.until_printed("24 80\r\n");
    instance.type_in(
        "sh -c 'trap \"stty size\" WINCH; echo rea\"\"dy; while :; do sleep 0.05; done'\r",
    );
    instance.until_printed("ready");
    instance.send(Command::Resize {
        rows: 50,
        columns: 132,
    });
    instance.until_printed("50 132\r\n");
    // ^C ends the loop, not the daemon.
    instance.type_in("\x03");
    instance.type_in("echo af''ter\r");
    instance.until_printed("after");
}

#[test]
fn the_exit_of_a_shell_is_reported_after_all_its_output_and_it_is_replaced() {
    let mut instance = Instance::start();
    // The background job keeps the terminal open.
    instance.type_in("sleep 60 & echo la''st; exit 3\r");
    instance.until("a new shell", |seen| seen.restarts == [3]);
    assert!(instance.seen.has_printed("last"));
    instance.type_in("echo sec''ond\r");
    instance.until_printed("second");
    instance.type_in("kill -9 $$\r");
    instance.until("a third shell", |seen| seen.restarts == [3, 137]);
    instance.type_in("echo th''ird\r");
    instance.until_printed("third");
}

#[test]
fn a_shell_that_always_dies_is_not_restarted_in_a_loop() {
    let mut instance = Instance::with_shell("/bin/false");
    instance.until("a restart", |seen| !seen.restarts.is_empty());
    let (started, before) = (Instant::now(), instance.seen.restarts.len());
    instance.listen(Duration::from_millis(1500));
    let (restarts, time) = (instance.seen.restarts.len() - before, started.elapsed());
    assert!(
        restarts as u64 <= time.as_secs() + 2,
        "{restarts} in {time:?}"
    );
}

#[test]
fn the_console_is_idle_only_when_the_shell_waits_for_a_command() {
    for shell in [SH, BASH] {
        let mut instance = Instance::with_shell(shell);
        let mut asked = 0;
        let mut ask = |instance: &mut Instance| {
            asked += 1;
            // Frequent, but the shell still gets a processor when many tests run.
            thread::sleep(Duration::from_millis(1));
            instance.is_idle(asked)
        };
        let deadline = Instant::now() + PATIENCE;
        while !ask(&mut instance) {
            assert!(Instant::now() < deadline, "{shell} is never idle");
        }
        // A command, a substitution in the shell's own group, and a loop in the shell itself.
        for line in [
            "sleep 0.5",
            "x=$(sleep 0.5)",
            "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done",
        ] {
            instance.type_in(&format!("{line}; echo do''ne-$?\r"));
            instance.seen.console.clear();
            let deadline = Instant::now() + PATIENCE;
            while !ask(&mut instance) {
                assert!(Instant::now() < deadline, "{shell} is never idle again");
            }
            assert!(
                instance.seen.has_printed("done-0"),
                "{shell}: idle before the end of {line}"
            );
        }
    }
}

#[test]
fn a_program_that_does_not_read_its_input_delays_no_command() {
    let mut instance = Instance::start();
    instance.type_in("stty raw -echo; printf GO%s GO; sleep 30\r");
    instance.until_printed("GOGO");
    for _ in 0..400 {
        // 1.6 MB, more than the limit of waiting input.
        while instance.try_to_send(&Command::Input(&[b'x'; 4096])) != Sent::Whole {
            instance.take();
        }
    }
    assert!(!instance.is_idle(1));
    assert_eq!(instance.run(2, "echo here").out, b"here\n");
    instance.wait_for_beat();
}

#[test]
fn a_halt_ends_the_shell_and_its_jobs_and_the_daemon() {
    let mut instance = Instance::with_shell(BASH);
    instance.type_in("sleep 60 & echo pid-$!-\r");
    let mut pid = None;
    instance.until("a process number", |seen| {
        let text = String::from_utf8_lossy(&seen.console).into_owned();
        pid = text
            .split("pid-")
            .filter_map(|rest| rest.split('-').next()?.parse::<i32>().ok())
            .next();
        pid.is_some()
    });
    assert!(runs(pid.unwrap()));
    instance.send(Command::Halt);
    let (output, seen) = instance.output();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
    assert!(seen.goodbye);
    assert!(!runs(pid.unwrap()));
}
