//! Memory becomes instances, and is left again.

use u_boot_system_test::board::Board;
use u_boot_system_test::machine::Machine;

use crate::BOARD;

#[test]
fn daemons_that_start_before_kmon_wait_for_it_and_then_run() {
    let mut machine = Machine::start(BOARD);
    let said = machine.console.command("kmlist");
    machine
        .console
        .check(said.contains("No instances"), "there is none");
    let guests = [2, 3].map(|number| machine.guest(number));
    for guest in &guests {
        guest.see_log("waiting for KMON to format");
    }
    let said = machine.attach_all("");
    for number in [2, 3] {
        let text = format!("Instance {number} (part{number}) at ");
        machine.console.check(said.contains(&text), &text);
        let line = machine.see_state(number, "running");
        let words: Vec<_> = line.split_whitespace().collect();
        let named = words[1] == format!("part{number}") && words[2] == "1";
        machine
            .console
            .check(named, "its name and its first incarnation");
    }
    let formatted = said.matches(": formatted").count();
    machine.console.check(formatted == 2, "both were formatted");
}

#[test]
fn what_is_attached_already_is_not_attached_again() {
    let mut machine = Machine::start(BOARD);
    machine.attach_all("");
    let said = machine.attach_all("");
    let told = said.matches("is attached already").count();
    machine
        .console
        .check(told == 2, "both are attached already");
    machine.see_state(2, "waiting for guestd");
}

#[test]
fn a_region_that_was_left_is_attached_to_by_the_next_incarnation_of_kmon() {
    let (mut machine, _guests) = Machine::with_guests(BOARD);
    machine.console.command("kmdetach 2");
    let list = machine.console.command("kmlist");
    machine
        .console
        .check(!list.contains("part2"), "instance 2 is left");
    machine
        .console
        .check(list.contains("part3"), "instance 3 is not");
    machine.console.command("kmdetach");
    let said = machine.attach_all("");
    for number in [2, 3] {
        let text = format!("Instance {number} (part{number})");
        machine.console.check(said.contains(&text), &text);
    }
    let again = said.matches("attached, KMON's incarnation 2").count();
    machine
        .console
        .check(again == 2, "both in their next incarnation");
    machine.see_running(3);
}

#[test]
fn a_region_that_is_formatted_anew_keeps_the_shell_of_its_instance() {
    let (mut machine, guests) = Machine::with_guests(BOARD);
    machine.enter(2);
    machine.shell(2, "kept=yes");
    machine.escape();
    let said = machine.attach_all(" -f");
    let formatted = said.matches(": formatted").count();
    machine.console.check(formatted == 2, "both were formatted");
    for (guest, number) in guests.iter().zip([2, 3]) {
        guest.see_log("KMON formats the region");
        machine.see_running(number);
    }
    machine.console.begin("kmconsole 2");
    machine.console.see("cmd_redirection=2");
    let said = machine.shell(2, "echo kept-$kept");
    machine
        .console
        .check(said.contains("kept-yes"), "the shell goes on");
}

#[test]
fn memory_that_cannot_be_a_region_is_one_line_and_the_prompt() {
    let mut machine = Machine::start(BOARD);
    let home = machine.home(2);
    let short = home.with_file_name("short");
    std::fs::write(&short, [0; 4096]).unwrap();
    let (none, short) = (
        format!("kmattach file {}", home.display()),
        format!("kmattach file {}", short.display()),
    );
    let mut lines = vec![
        ("kmattach fffffffffff00000 200000", "is not main memory"),
        (
            "kmattach nowhere 200000",
            "'nowhere' is no hexadecimal number",
        ),
    ];
    let (memory, low) = match BOARD {
        Board::Sandbox => ("1000000", "kmattach 1000004 200000"),
        Board::QemuArm64 | Board::QemuArm64Tree => ("42000000", "kmattach 42000004 200000"),
        Board::Malta64 => ("6000000", "kmattach 6000004 200000"),
    };
    let few = format!("kmattach {memory} 1000");
    let nobody = format!("kmattach {memory} 200000 1");
    lines.extend([
        (&*few, "too short for a region"),
        (&*nobody, "is no number of an instance"),
        (low, "the address is no multiple of 8"),
    ]);
    if BOARD == Board::Sandbox {
        lines.extend([
            (&*none, "cannot be mapped"),
            (&*short, "too short for a region"),
        ]);
    }
    for (line, says) in lines {
        let said = machine.console.command(line);
        machine.console.check(said.contains(says), says);
        machine
            .console
            .check(said.matches("kmattach: ").count() == 1, "one line");
    }
    let said = machine.console.command("kmlist");
    machine
        .console
        .check(said.contains("No instances"), "there is none");
}
