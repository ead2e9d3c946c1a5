//! A daemon or U-Boot dies and starts again: KMON reports it, and no old command runs.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use u_boot_system_test::PATIENCE;
use u_boot_system_test::guest::prompt;
use u_boot_system_test::machine::Machine;

use crate::BOARD;

#[test]
fn a_killed_daemon_is_reported_and_its_next_incarnation_runs_no_old_command() {
    let (mut machine, guests) = Machine::with_guests(BOARD);
    let [first, _other] = guests;
    machine.enter(2);
    machine.shell(2, "touch taken");
    // It reads no more commands, and then it is gone.
    first.signal(Signal::SIGSTOP);
    machine.console.press("touch old\r");
    machine.escape();
    drop(first);
    machine.see_state(2, "silent");
    let output = machine.console.command("kmexec 2 touch older");
    machine.console.check(
        output.contains("instance 2 is not running (silent"),
        "it is not running",
    );
    let _second = machine.guest(2);
    let line = machine.see_running(2);
    let incarnation = line.split_whitespace().nth(2);
    machine
        .console
        .check(incarnation == Some("2"), "it is in its second incarnation");
    machine.console.begin("kmconsole 2");
    machine
        .console
        .see("guestd was restarted (incarnation 2): a new shell]");
    machine
        .console
        .see("commands from before a restart that were not run: ");
    // This runs after everything else that could run before it.
    machine.console.press("ls; echo e''nd\r");
    let output = machine.console.see("end\n");
    machine.console.check(
        output.contains("taken"),
        "the new shell is in the same directory",
    );
    machine
        .console
        .check(!machine.home(2).join("old").exists(), "no old command ran");
    machine.escape();
}

#[test]
fn an_open_console_stays_open_while_its_daemon_dies_and_starts_again() {
    let (mut machine, guests) = Machine::with_guests(BOARD);
    let [first, _other] = guests;
    machine.enter(2);
    drop(first);
    machine.console.see("its heartbeat stands still");
    let _second = machine.guest(2);
    machine
        .console
        .see("guestd was restarted (incarnation 2): a new shell]");
    machine.console.see(&prompt(2));
    let output = machine.shell(2, "echo he''re");
    machine
        .console
        .check(output.contains("here"), "the new shell answers");
    machine.escape();
}

#[test]
fn a_command_is_lost_with_the_daemon_that_ran_it() {
    let (mut machine, guests) = Machine::with_guests(BOARD);
    let [first, _other] = guests;
    machine.console.begin("kmexec 2 'echo ready; sleep 1000'");
    machine.console.see("ready");
    drop(first);
    let _second = machine.guest(2);
    machine
        .console
        .see("kmexec: instance 2: guestd died, and the command with it");
    machine.console.prompt();
    let output = machine.console.command("printenv kmstatus");
    machine.console.check(
        output.contains("kmstatus=125"),
        "its exit status is unknown",
    );
}

#[test]
fn a_reset_of_u_boot_does_not_change_the_instances() {
    let (mut machine, _guests) = Machine::with_guests(BOARD);
    machine.leave_trace(2);
    machine.console.begin("reset");
    machine.console.boot();
    machine.find_traces(&[2]);
}

#[test]
fn a_power_failure_of_u_boot_does_not_change_the_instances() {
    let (mut machine, _guests) = Machine::with_guests(BOARD);
    machine.leave_trace(2);
    let running = machine.home(2).join("running");
    let line = format!(
        "kmexec 2 'echo $$ > {}; exec sleep 1000'",
        running.display()
    );
    machine.console.begin(&line);
    let command = wait_for_file(&running);
    machine.cycle_power();
    machine.find_traces(&[2]);
    // The daemon kills the old KMON's command, because no partition can receive its end.
    let process = Path::new("/proc").join(command.trim());
    let deadline = Instant::now() + PATIENCE;
    while process.exists() {
        assert!(Instant::now() < deadline, "the command still runs");
        thread::sleep(Duration::from_millis(10));
    }
}

fn wait_for_file(path: &Path) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match fs::read_to_string(path) {
            Ok(text) if text.ends_with('\n') => return text,
            _ => assert!(Instant::now() < deadline, "no {}", path.display()),
        }
        thread::sleep(Duration::from_millis(10));
    }
}
