//! The console of an instance.

use u_boot_system_test::guest::prompt;
use u_boot_system_test::machine::Machine;

use crate::BOARD;

#[test]
fn what_is_typed_runs_in_the_instance_and_kmexitconsole_comes_back() {
    let (mut machine, _guests) = Machine::with_guests(BOARD);
    let said = machine.console.command("kmexitconsole");
    machine.console.check(
        said.contains("this is KMON already"),
        "outside of a console",
    );
    machine.enter(2);
    let said = machine.shell(2, "ls");
    let listed = ["log", "shell"].iter().all(|name| said.contains(name));
    machine.console.check(listed, "what is in its directory");
    let said = machine.shell(2, "uname -a");
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    machine
        .console
        .check(said.contains(kernel.trim()), "its kernel");
    let said = machine.shell(2, "stty size");
    machine
        .console
        .check(said.contains("24 80"), "its terminal's size");
    machine.console.press("kmexitconsole\r");
    machine.console.prompt();
    // The shell has seen nothing of it.
    machine.console.begin("kmconsole 2");
    machine.console.see(&prompt(2));
    let said = machine.shell(2, "echo he''re");
    machine
        .console
        .check(said.contains("here"), "the line is empty");
    // What a terminal answers to a shell that asks where its cursor is.
    machine.console.press("\x1b[24;80Rkmexitconsole\r");
    machine.console.prompt();
}

#[test]
fn each_console_is_that_of_its_own_instance() {
    let (mut machine, _guests) = Machine::with_guests(BOARD);
    for number in [2, 3, 2] {
        machine.enter(number);
        let said = machine.shell(number, "pwd; n=$((n+1))");
        let home = machine.home(number);
        machine
            .console
            .check(said.contains(home.to_str().unwrap()), "its directory");
        machine.escape();
    }
    machine.enter(2);
    let said = machine.shell(2, "echo came-$n-times");
    machine
        .console
        .check(said.contains("came-2-times"), "the same shell twice");
}

#[test]
fn the_escape_key_comes_back_and_typed_twice_it_is_the_instances() {
    let (mut machine, _guests) = Machine::with_guests(BOARD);
    machine.enter(3);
    machine.escape();
    machine.enter(3);
    // A line that a command reads whole, with the key in it.
    machine.console.press("cat -v\r");
    machine.console.see("\n");
    machine.console.press("a\x1d\x1db\r");
    machine.console.see("a^]b");
    machine.console.see("a^]b");
    machine.console.press("\x04");
    machine.console.see(&prompt(3));
    machine.escape();
}

#[test]
fn an_interrupt_is_the_instances_and_not_u_boots() {
    let (mut machine, _guests) = Machine::with_guests(BOARD);
    machine.enter(2);
    let trap = "sh -c 'trap \"echo cau\"\"ght; exit\" INT; echo rea\"\"dy; while :; do sleep 0.05; done'\r";
    machine.console.press(trap);
    machine.console.see("ready");
    machine.console.press("\x03");
    machine.console.see("caught");
    machine.console.see(&prompt(2));
    machine.escape();
}

#[test]
fn a_program_that_prints_without_end_is_left_and_stopped() {
    let (mut machine, _guests) = Machine::with_guests(BOARD);
    machine.enter(2);
    machine.console.press("yes flo''od\r");
    for _ in 0..100 {
        machine.console.see("flood");
    }
    machine.escape();
    let said = machine.console.command("kmexec 3 echo meanwhile");
    machine
        .console
        .check(said.contains("meanwhile"), "the other instance answers");
    machine.console.begin("kmconsole 2");
    machine.console.see("flood");
    machine.console.press("\x03");
    machine.console.see(&prompt(2));
    machine.escape();
}
