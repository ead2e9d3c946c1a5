//! U-Boot on a 64-bit ARM machine whose device tree reserves the regions' memory.

use u_boot_system_test::board::Board;
use u_boot_system_test::machine::Machine;

#[test]
fn nodes_of_the_device_tree_become_instances_in_their_order() {
    let mut machine = Machine::start(Board::QemuArm64Tree);
    let output = machine.attach_all("");
    for (number, address) in [(2, "0x44000000"), (3, "0x45000000")] {
        let text = format!("Instance {number} (part{number}) at {address} (kmon-{number}");
        machine.console.check(output.contains(&text), &text);
    }
    let _guests = [2, 3].map(|number| machine.guest(number));
    for number in [2, 3] {
        machine.see_running(number);
        let output = machine
            .console
            .command(&format!("kmexec {number} 'echo in $((1 + {number}))'"));
        let is = output.trim() == format!("in {}", 1 + number);
        machine.console.check(is, "it runs commands");
    }
}
