//! A daemon or U-Boot dies and comes back: it is said, and nothing old is run.

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
fn a_daemon_that_was_killed_is_told_and_comes_back_and_runs_nothing_old() {
    let (mut machine, guests) = Machine::with_guests(BOARD);
    let [first, _other] = guests;
    machine.enter(2);
    machine.shell(2, "touch taken");
    // It takes nothing any more, and then it is gone.
    first.signal(Signal::SIGSTOP);
    machine.console.press("touch old\r");
    machine.escape();
    drop(first);
    machine.see_state(2, "stale");
    let said = machine.console.command("kmexec 2 touch older");
    machine.console.check(
        said.contains("instance 2 is not running (stale"),
        "it is gone",
    );
    let _second = machine.guest(2);
    let line = machine.see_running(2);
    let incarnation = line.split_whitespace().nth(2);
    machine
        .console
        .check(incarnation == Some("2"), "its second incarnation");
    machine.console.begin("kmconsole 2");
    machine
        .console
        .see("guestd was restarted (incarnation 2): a new shell]");
    machine
        .console
        .see("commands from before a restart that were not run: ");
    // Behind whatever else would have run before it.
    machine.console.press("ls; echo e''nd\r");
    let said = machine.console.see("end\n");
    machine.console.check(
        said.contains("taken"),
        "the new shell is where the old one was",
    );
    machine
        .console
        .check(!machine.home(2).join("old").exists(), "nothing old ran");
    machine.escape();
}

#[test]
fn a_console_that_is_open_stays_while_its_daemon_dies_and_comes_back() {
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
    let said = machine.shell(2, "echo he''re");
    machine
        .console
        .check(said.contains("here"), "the new shell answers");
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
    let said = machine.console.command("printenv kmstatus");
    machine
        .console
        .check(said.contains("kmstatus=125"), "nobody knows how it ended");
}

#[test]
fn a_reset_of_u_boot_leaves_the_instances_as_they_are() {
    let (mut machine, _guests) = Machine::with_guests(BOARD);
    machine.leave_trace(2);
    machine.console.begin("reset");
    machine.console.boot();
    machine.find_traces(&[2]);
}

#[test]
fn a_power_failure_of_u_boot_leaves_the_instances_as_they_are() {
    let (mut machine, _guests) = Machine::with_guests(BOARD);
    machine.leave_trace(2);
    let running = machine.home(2).join("running");
    let line = format!(
        "kmexec 2 'echo $$ > {}; exec sleep 1000'",
        running.display()
    );
    machine.console.begin(&line);
    let command = await_file(&running);
    machine.cycle_power();
    machine.find_traces(&[2]);
    // Nobody is left to hear how the old KMON's command ends.
    let process = Path::new("/proc").join(command.trim());
    let deadline = Instant::now() + PATIENCE;
    while process.exists() {
        assert!(Instant::now() < deadline, "the command runs on");
        thread::sleep(Duration::from_millis(10));
    }
}

fn await_file(path: &Path) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match fs::read_to_string(path) {
            Ok(text) if text.ends_with('\n') => return text,
            _ => assert!(Instant::now() < deadline, "no {}", path.display()),
        }
        thread::sleep(Duration::from_millis(10));
    }
}
