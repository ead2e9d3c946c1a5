//! Statistics that instances publish.

use u_boot_system_test::machine::Machine;

use crate::BOARD;

#[test]
fn the_statistics_of_all_instances_are_shown_as_often_as_the_user_asks() {
    let (mut machine, _guests) = Machine::with_guests(BOARD);
    let output = machine.console.command("kmmonitorall 1 2");
    let all = std::fs::read_to_string("/proc/meminfo").unwrap();
    let total = all.split_whitespace().nth(1).unwrap();
    for (text, times) in [
        ("*****part_id:2*****", 2),
        ("*****part_id:3*****", 2),
        (&*format!("total size:{total} kb"), 4),
        ("CPU\ncpu utilization_ratio:", 4),
        ("lo:", 4),
    ] {
        let found = output.matches(text).count();
        machine
            .console
            .check(found == times, &format!("{text} {times} times"));
    }
}

#[test]
fn an_interrupt_ends_the_monitoring() {
    let (mut machine, _guests) = Machine::with_guests(BOARD);
    machine.console.begin("kmmonitorall 1");
    for _ in 0..2 {
        machine.console.see("part_id:2");
        machine.console.see("part_id:3");
    }
    machine.console.press("\x03");
    machine.console.prompt();
    // Also in the middle of a long pause.
    machine.console.begin("kmmonitorall 3600");
    machine.console.see("part_id:3");
    machine.console.press("\x03");
    machine.console.prompt();
}

#[test]
fn the_state_of_a_dead_instance_is_shown_instead_of_its_statistics() {
    let (mut machine, guests) = Machine::with_guests(BOARD);
    let [first, _second] = guests;
    machine.console.begin("kmmonitorall 1");
    machine.console.see("part_id:3");
    drop(first);
    machine.console.see("part_id:2*****\nstate:silent");
    machine.console.see("part_id:3*****");
    machine.console.see("cpu utilization_ratio:");
    machine.console.press("\x03");
    machine.console.prompt();
}
