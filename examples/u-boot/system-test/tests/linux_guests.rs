//! U-Boot on a 64-bit ARM machine as KMON of two x86-64 Linux machines: two kernels and
//! a bootloader, each under a QEMU of its own, share memory alone.

use std::sync::{Mutex, MutexGuard, PoisonError};

use u_boot_system_test::board::Board;
use u_boot_system_test::linux::MEMORY_MIB;
use u_boot_system_test::machine::{Machine, incarnation};

const BOARD: Board = Board::QemuArm64;

/// One test at a time: three virtual machines keep more processors busy than many a
/// machine has.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn guests_that_boot_before_kmon_wait_for_it_and_then_run() {
    let _alone = alone();
    let mut machine = Machine::start_for_linux(BOARD);
    let guests = [2, 3].map(|number| machine.linux(number));
    for guest in &guests {
        guest.see_log("waiting for KMON to format");
    }
    let said = machine.attach_all("");
    let formatted = said.matches(": formatted").count();
    machine.console.check(formatted == 2, "both were formatted");
    for number in [2, 3] {
        let line = machine.see_running(number);
        let named = line.contains(&format!("part{number} ")) && incarnation(&line) == Some("1");
        machine
            .console
            .check(named, "its name and its first incarnation");
        let said = machine
            .console
            .command(&format!("kmexec {number} uname -n"));
        let is = said.trim() == format!("part{number}");
        machine.console.check(is, "its own name");
    }
}

#[test]
fn a_console_is_a_shell_of_the_guests_own_kernel() {
    let _alone = alone();
    let (mut machine, guests) = Machine::with_linux(BOARD);
    machine.enter(2);
    let said = machine.shell(2, "ls /");
    let listed = ["bin", "init", "proc", "sys"];
    let listed = listed.iter().all(|name| said.contains(name));
    machine.console.check(listed, "what is in its root");
    let said = machine.shell(2, "uname -a");
    for word in ["Linux part2 ", &guests[0].release(), " x86_64 "] {
        machine.console.check(said.contains(word), word);
    }
    // One program prints and sleeps: a shell between two commands may lose an interrupt.
    machine
        .console
        .press("sh -c 'echo rea\"\"dy; exec sleep 1000'\r");
    machine.console.see("ready");
    machine.console.press("\x03");
    machine.see_prompt(2);
    machine.console.press("kmexitconsole\r");
    machine.console.prompt();
    machine.enter(3);
    let said = machine.shell(3, "hostname");
    machine
        .console
        .check(said.trim() == "part3", "the other guest's");
    machine.escape();
    let list = machine.console.command("kmlist");
    let both = list.matches("running").count();
    machine.console.check(both == 2, "both run on");
}

#[test]
fn what_a_guest_measures_and_runs_is_its_own() {
    let _alone = alone();
    let (mut machine, _guests) = Machine::with_linux(BOARD);
    let said = machine.console.command("kmmonitorall 1 2");
    for number in [2, 3] {
        let times = said.matches(&format!("*****part_id:{number}*****")).count();
        machine.console.check(times == 2, "each is shown twice");
    }
    let totals = said.split("total size:").skip(1).map(|rest| {
        let number = rest.split_whitespace().next();
        number.and_then(|number| number.parse::<u32>().ok())
    });
    let totals: Vec<_> = totals.collect();
    // The kernel keeps some for itself.
    let all = MEMORY_MIB << 10;
    let own = |total: &Option<u32>| total.is_some_and(|kb| (all / 2..all).contains(&kb));
    machine
        .console
        .check(totals.len() == 4 && totals.iter().all(own), "its memory");
    for (line, says, status) in [
        ("kmexec 2 uname -m", "x86_64", "0"),
        ("kmexec 3 'echo wrong >&2; exit 3'", "exit status 3", "3"),
        ("kmexec 2 'kill -9 $$'", "killed by signal 9", "137"),
    ] {
        let said = machine.console.command(line);
        machine.console.check(said.contains(says), says);
        let said = machine.console.command("printenv kmstatus");
        let is = said.trim() == format!("kmstatus={status}");
        machine.console.check(is, &format!("the status {status}"));
    }
    let said = machine.console.command("kmexec 2 seq 1 5000");
    let numbers = said
        .lines()
        .filter_map(|line| line.trim().parse::<u32>().ok());
    machine.console.check(numbers.eq(1..=5000), "all numbers");
}

#[test]
fn a_guest_whose_machine_was_killed_is_told_and_boots_again_beside_the_other() {
    let _alone = alone();
    let (mut machine, guests) = Machine::with_linux(BOARD);
    let [first, _other] = guests;
    machine.enter(2);
    machine.shell(2, "touch /tmp/old");
    first.kill();
    machine.console.see("its heartbeat stands still");
    machine.escape();
    machine.see_state(2, "stale");
    let said = machine.console.command("kmexec 2 true");
    let told = said.contains("instance 2 is not running (stale");
    machine.console.check(told, "it is gone");
    let said = machine.console.command("kmexec 3 echo meanwhile");
    machine
        .console
        .check(said.contains("meanwhile"), "the other guest answers");
    drop(first);
    let _again = machine.linux(2);
    let line = machine.see_running(2);
    machine
        .console
        .check(incarnation(&line) == Some("2"), "its second incarnation");
    machine.console.begin("kmconsole 2");
    machine
        .console
        .see("guestd was restarted (incarnation 2): a new shell]");
    machine.see_prompt(2);
    let said = machine.shell(2, "ls /tmp");
    machine
        .console
        .check(!said.contains("old"), "a machine that has just booted");
    machine.escape();
}

#[test]
fn a_reset_of_u_boot_leaves_the_guests_as_they_are() {
    let _alone = alone();
    let (mut machine, _guests) = Machine::with_linux(BOARD);
    for number in [2, 3] {
        machine.leave_trace(number);
    }
    machine.console.begin("reset");
    machine.console.boot();
    machine.find_traces(&[2, 3]);
}
