//! U-Boot on a 64-bit ARM machine as KMON of two x86-64 Linux machines: two kernels and
//! a bootloader, each in its own QEMU, share only memory.

use std::sync::{Mutex, MutexGuard, PoisonError};

use u_boot_system_test::board::Board;
use u_boot_system_test::linux::MEMORY_MIB;
use u_boot_system_test::machine::{Machine, incarnation};

const BOARD: Board = Board::QemuArm64;

/// Runs one test at a time: three virtual machines use more processors than many machines
/// have.
fn lock() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn guests_that_boot_before_kmon_wait_for_it_and_then_run() {
    let _lock = lock();
    let mut machine = Machine::start_for_linux(BOARD);
    let guests = [2, 3].map(|number| machine.linux(number));
    for guest in &guests {
        guest.see_log("waiting for KMON to format");
    }
    let output = machine.attach_all("");
    let formatted = output.matches(": formatted").count();
    machine.console.check(formatted == 2, "both were formatted");
    for number in [2, 3] {
        let line = machine.see_running(number);
        let named = line.contains(&format!("part{number} ")) && incarnation(&line) == Some("1");
        machine
            .console
            .check(named, "it has its name and its first incarnation");
        let output = machine
            .console
            .command(&format!("kmexec {number} uname -n"));
        let is = output.trim() == format!("part{number}");
        machine.console.check(is, "it has its own host name");
    }
}

#[test]
fn a_console_is_a_shell_of_the_guests_own_kernel() {
    let _lock = lock();
    let (mut machine, guests) = Machine::with_linux(BOARD);
    machine.enter(2);
    let output = machine.shell(2, "ls /");
    let listed = ["bin", "init", "proc", "sys"];
    let listed = listed.iter().all(|name| output.contains(name));
    machine
        .console
        .check(listed, "the guest's root directory is listed");
    let output = machine.shell(2, "uname -a");
    for word in ["Linux part2 ", &guests[0].release(), " x86_64 "] {
        machine.console.check(output.contains(word), word);
    }
    // One program prints and sleeps: between two commands a shell may lose an interrupt.
    machine
        .console
        .press("sh -c 'echo rea\"\"dy; exec sleep 1000'\r");
    machine.console.see("ready");
    machine.console.press("\x03");
    machine.see_prompt(2);
    machine.console.press("kmexitconsole\r");
    machine.console.prompt();
    machine.enter(3);
    let output = machine.shell(3, "hostname");
    machine
        .console
        .check(output.trim() == "part3", "the other guest answers");
    machine.escape();
    let list = machine.console.command("kmlist");
    let both = list.matches("running").count();
    machine.console.check(both == 2, "both still run");
}

#[test]
fn a_guest_runs_commands_and_reports_its_own_statistics() {
    let _lock = lock();
    let (mut machine, _guests) = Machine::with_linux(BOARD);
    let output = machine.console.command("kmmonitorall 1 2");
    for number in [2, 3] {
        let times = output
            .matches(&format!("*****part_id:{number}*****"))
            .count();
        machine.console.check(times == 2, "each is shown twice");
    }
    let totals = output.split("total size:").skip(1).map(|rest| {
        let number = rest.split_whitespace().next();
        number.and_then(|number| number.parse::<u32>().ok())
    });
    let totals: Vec<_> = totals.collect();
    // The kernel reserves some of it.
    let all = MEMORY_MIB << 10;
    let own = |total: &Option<u32>| total.is_some_and(|kb| (all / 2..all).contains(&kb));
    machine.console.check(
        totals.len() == 4 && totals.iter().all(own),
        "the total is that of the guest",
    );
    for (line, says, status) in [
        ("kmexec 2 uname -m", "x86_64", "0"),
        ("kmexec 3 'echo wrong >&2; exit 3'", "exit status 3", "3"),
        ("kmexec 2 'kill -9 $$'", "killed by signal 9", "137"),
    ] {
        let output = machine.console.command(line);
        machine.console.check(output.contains(says), says);
        let output = machine.console.command("printenv kmstatus");
        let is = output.trim() == format!("kmstatus={status}");
        machine.console.check(is, &format!("the status {status}"));
    }
    let output = machine.console.command("kmexec 2 seq 1 5000");
    let numbers = output
        .lines()
        .filter_map(|line| line.trim().parse::<u32>().ok());
    machine
        .console
        .check(numbers.eq(1..=5000), "all numbers are shown");
}

#[test]
fn a_killed_machine_is_reported_and_boots_again_while_the_other_runs() {
    let _lock = lock();
    let (mut machine, guests) = Machine::with_linux(BOARD);
    let [first, _other] = guests;
    machine.enter(2);
    machine.shell(2, "touch /tmp/old");
    first.kill();
    machine.console.see("its heartbeat stands still");
    machine.escape();
    machine.see_state(2, "silent");
    let output = machine.console.command("kmexec 2 true");
    let reported = output.contains("instance 2 is not running (silent");
    machine.console.check(reported, "it is not running");
    let output = machine.console.command("kmexec 3 echo meanwhile");
    machine
        .console
        .check(output.contains("meanwhile"), "the other guest answers");
    drop(first);
    let _again = machine.linux(2);
    let line = machine.see_running(2);
    machine.console.check(
        incarnation(&line) == Some("2"),
        "it is in its second incarnation",
    );
    machine.console.begin("kmconsole 2");
    machine
        .console
        .see("guestd was restarted (incarnation 2): a new shell]");
    machine.see_prompt(2);
    let output = machine.shell(2, "ls /tmp");
    machine
        .console
        .check(!output.contains("old"), "the machine has just booted");
    machine.escape();
}

#[test]
fn a_reset_of_u_boot_does_not_change_the_guests() {
    let _lock = lock();
    let (mut machine, _guests) = Machine::with_linux(BOARD);
    for number in [2, 3] {
        machine.leave_trace(number);
    }
    machine.console.begin("reset");
    machine.console.boot();
    machine.find_traces(&[2, 3]);
}
