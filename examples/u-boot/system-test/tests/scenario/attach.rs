//! Attaching and detaching instances.

use u_boot_system_test::board::Board;
use u_boot_system_test::machine::Machine;

use crate::BOARD;

#[test]
fn daemons_that_start_before_kmon_wait_for_it_and_then_run() {
    let mut machine = Machine::start(BOARD);
    let output = machine.console.command("kmlist");
    machine
        .console
        .check(output.contains("No instances"), "no instance is attached");
    let guests = [2, 3].map(|number| machine.guest(number));
    for guest in &guests {
        guest.see_log("waiting for KMON to format");
    }
    let output = machine.attach_all("");
    for number in [2, 3] {
        let text = format!("Instance {number} (part{number}) at ");
        machine.console.check(output.contains(&text), &text);
        let line = machine.see_state(number, "running");
        let words: Vec<_> = line.split_whitespace().collect();
        let named = words[1] == format!("part{number}") && words[2] == "1";
        machine
            .console
            .check(named, "it has its name and its first incarnation");
    }
    let formatted = output.matches(": formatted").count();
    machine.console.check(formatted == 2, "both were formatted");
}

#[test]
fn an_attached_instance_is_not_attached_again() {
    let mut machine = Machine::start(BOARD);
    machine.attach_all("");
    let output = machine.attach_all("");
    let reported = output.matches("is attached already").count();
    machine
        .console
        .check(reported == 2, "both are attached already");
    machine.see_state(2, "starting");
}

#[test]
fn the_next_incarnation_of_kmon_attaches_to_a_region_that_was_detached() {
    let (mut machine, _guests) = Machine::with_guests(BOARD);
    machine.console.command("kmdetach 2");
    let list = machine.console.command("kmlist");
    machine
        .console
        .check(!list.contains("part2"), "instance 2 is detached");
    machine
        .console
        .check(list.contains("part3"), "instance 3 is not detached");
    machine.console.command("kmdetach");
    let output = machine.attach_all("");
    for number in [2, 3] {
        let text = format!("Instance {number} (part{number})");
        machine.console.check(output.contains(&text), &text);
    }
    let again = output.matches("attached, KMON's incarnation 2").count();
    machine
        .console
        .check(again == 2, "both are attached to the next incarnation");
    machine.see_running(3);
}

#[test]
fn an_instance_whose_region_is_formatted_again_keeps_its_shell() {
    let (mut machine, guests) = Machine::with_guests(BOARD);
    machine.enter(2);
    machine.shell(2, "trace=yes");
    machine.escape();
    let output = machine.attach_all(" -f");
    let formatted = output.matches(": formatted").count();
    machine.console.check(formatted == 2, "both were formatted");
    for (guest, number) in guests.iter().zip([2, 3]) {
        guest.see_log("KMON formats the region");
        machine.see_running(number);
    }
    machine.console.begin("kmconsole 2");
    machine.console.see("cmd_redirection=2");
    let output = machine.shell(2, "echo trace-$trace");
    machine
        .console
        .check(output.contains("trace-yes"), "the shell is the same");
}

#[test]
fn memory_that_cannot_be_a_region_is_one_line_of_error_and_the_prompt() {
    let mut machine = Machine::start(BOARD);
    let home = machine.home(2);
    let short = home.with_file_name("short");
    std::fs::write(&short, [0; 4096]).unwrap();
    let (missing, short) = (
        format!("kmattach file {}", home.display()),
        format!("kmattach file {}", short.display()),
    );
    let mut lines = vec![
        ("kmattach fffffffffff00000 200000", "is not main memory"),
        (
            "kmattach nowhere 200000",
            "'nowhere' is not a hexadecimal number",
        ),
    ];
    let (memory, unaligned) = match BOARD {
        Board::Sandbox => ("1000000", "kmattach 1000004 200000"),
        Board::QemuArm64 | Board::QemuArm64Tree => ("42000000", "kmattach 42000004 200000"),
        Board::Malta64 => ("6000000", "kmattach 6000004 200000"),
    };
    let few = format!("kmattach {memory} 1000");
    let monitor = format!("kmattach {memory} 200000 1");
    lines.extend([
        (&*few, "too short for a region"),
        (&*monitor, "is not an instance number"),
        (unaligned, "the address is not a multiple of 8"),
    ]);
    if BOARD == Board::Sandbox {
        lines.extend([
            (&*missing, "cannot be mapped"),
            (&*short, "too short for a region"),
        ]);
    }
    for (line, says) in lines {
        let output = machine.console.command(line);
        machine.console.check(output.contains(says), says);
        machine.console.check(
            output.matches("kmattach: ").count() == 1,
            "the error is one line",
        );
    }
    let output = machine.console.command("kmlist");
    machine
        .console
        .check(output.contains("No instances"), "no instance is attached");
}
