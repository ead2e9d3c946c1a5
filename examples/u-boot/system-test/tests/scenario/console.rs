//! The console of an instance.

use u_boot_system_test::guest::prompt;
use u_boot_system_test::machine::Machine;

use crate::BOARD;

#[test]
fn typed_commands_run_in_the_instance_and_kmexitconsole_returns() {
    let (mut machine, _guests) = Machine::with_guests(BOARD);
    let output = machine.console.command("kmexitconsole");
    machine.console.check(
        output.contains("this is KMON already"),
        "it is not in a console",
    );
    machine.enter(2);
    let output = machine.shell(2, "ls");
    let listed = ["log", "shell"].iter().all(|name| output.contains(name));
    machine
        .console
        .check(listed, "the daemon's directory is listed");
    let output = machine.shell(2, "uname -a");
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    machine
        .console
        .check(output.contains(kernel.trim()), "the kernel is shown");
    let output = machine.shell(2, "stty size");
    machine
        .console
        .check(output.contains("24 80"), "the terminal has its size");
    machine.console.press("kmexitconsole\r");
    machine.console.prompt();
    // The shell has received nothing of it.
    machine.console.begin("kmconsole 2");
    machine.console.see(&prompt(2));
    let output = machine.shell(2, "echo he''re");
    machine
        .console
        .check(output.contains("here"), "the line is empty");
    // A terminal's answer to a shell that asks for the position of its cursor.
    machine.console.press("\x1b[24;80Rkmexitconsole\r");
    machine.console.prompt();
}

#[test]
fn each_console_belongs_to_its_own_instance() {
    let (mut machine, _guests) = Machine::with_guests(BOARD);
    for number in [2, 3, 2] {
        machine.enter(number);
        let output = machine.shell(number, "pwd; n=$((n+1))");
        let home = machine.home(number);
        machine.console.check(
            output.contains(home.to_str().unwrap()),
            "its directory is shown",
        );
        machine.escape();
    }
    machine.enter(2);
    let output = machine.shell(2, "echo came-$n-times");
    machine
        .console
        .check(output.contains("came-2-times"), "the shell is the same");
}

#[test]
fn the_escape_key_returns_and_two_of_them_send_one() {
    let (mut machine, _guests) = Machine::with_guests(BOARD);
    machine.enter(3);
    machine.escape();
    machine.enter(3);
    // A line that a command reads as a whole, with the key in it.
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
fn an_interrupt_reaches_the_instance_and_not_u_boot() {
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
fn a_console_of_a_program_that_prints_forever_can_be_left_and_stopped() {
    let (mut machine, _guests) = Machine::with_guests(BOARD);
    machine.enter(2);
    machine.console.press("yes flo''od\r");
    for _ in 0..100 {
        machine.console.see("flood");
    }
    machine.escape();
    let output = machine.console.command("kmexec 3 echo meanwhile");
    machine
        .console
        .check(output.contains("meanwhile"), "the other instance answers");
    machine.console.begin("kmconsole 2");
    machine.console.see("flood");
    machine.console.press("\x03");
    machine.console.see(&prompt(2));
    machine.escape();
}
