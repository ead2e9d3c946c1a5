//! Commands that run outside the console.

use nix::sys::signal::Signal;
use u_boot_system_test::machine::Machine;

use crate::BOARD;

#[test]
fn a_command_shows_its_output_and_its_exit_status() {
    let (mut machine, _guests) = Machine::with_guests(BOARD);
    let output = machine.console.command("kmexec 3 uname -n");
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    machine
        .console
        .check(output.trim() == name.trim(), "only its name is shown");
    for (line, says, status) in [
        ("kmexec 2 true", "", "0"),
        ("kmexec 2 'echo wrong >&2; exit 3'", "exit status 3", "3"),
        ("kmexec 3 'kill -9 $$'", "killed by signal 9", "137"),
        ("kmexec 2 no-such-program", "exit status 127", "127"),
    ] {
        let output = machine.console.command(line);
        machine.console.check(output.contains(says), says);
        if status == "3" {
            machine
                .console
                .check(output.contains("wrong"), "its errors are shown");
        }
        let output = machine.console.command("printenv kmstatus");
        let is = output.trim() == format!("kmstatus={status}");
        machine.console.check(is, &format!("the status {status}"));
    }
    let output = machine
        .console
        .command("if kmexec 2 false; then echo went well; else echo failed; fi");
    machine
        .console
        .check(output.contains("failed"), "a script sees the status");
}

#[test]
fn all_output_of_a_command_is_shown_in_its_order() {
    let (mut machine, _guests) = Machine::with_guests(BOARD);
    let output = machine.console.command("kmexec 2 seq 1 20000");
    let numbers = output
        .lines()
        .filter_map(|line| line.trim().parse::<u32>().ok());
    machine
        .console
        .check(numbers.eq(1..=20000), "all numbers are shown");
}

#[test]
fn an_interrupt_ends_a_command_that_does_not_end() {
    let (mut machine, guests) = Machine::with_guests(BOARD);
    machine.console.begin("kmexec 2 'echo ready; sleep 1000'");
    machine.console.see("ready");
    machine.console.press("\x03");
    let output = machine.console.prompt();
    machine.console.check(
        output.contains("interrupted, killed by signal 15"),
        "it was asked to end",
    );
    // Also if its daemon is stopped.
    guests[0].signal(Signal::SIGSTOP);
    machine.console.begin("kmexec 2 true");
    machine.console.press("\x03");
    let output = machine.console.prompt();
    machine.console.check(
        output.contains("kmexec: instance 2: "),
        "the reason is shown",
    );
    guests[0].signal(Signal::SIGCONT);
    machine.see_running(2);
    let output = machine.console.command("kmexec 2 echo again");
    machine
        .console
        .check(output.contains("again"), "the instance runs again");
}
