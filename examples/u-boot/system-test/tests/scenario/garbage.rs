//! What a guest or a person writes that is none of the protocol's.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use shmem_core::Mapping;
use u_boot_system_test::guest::Guest;
use u_boot_system_test::machine::Machine;

use crate::BOARD;

/// Between two salvos. Where all processors worked and yielded without end, a kernel was seen
/// to let the workers behind every terminal wait for a minute.
const REST: Duration = Duration::from_micros(100);

#[test]
fn memory_that_is_neither_blank_nor_a_region_is_formatted_only_when_that_is_asked_for() {
    let mut machine = Machine::start(BOARD);
    for number in [2, 3] {
        machine.region(number).window().write(64, &[0xa5; 4096]);
    }
    let said = machine.attach_all("");
    let refused = said.matches("it is no region, and not blank").count();
    machine.console.check(refused == 2, "both were refused");
    let said = machine.attach_all(" -f");
    let formatted = said.matches(": formatted").count();
    machine.console.check(formatted == 2, "both were formatted");
    let _guest = machine.guest(2);
    machine.see_running(2);
}

#[test]
fn a_region_of_another_version_is_refused_until_it_is_formatted_anew() {
    let (mut machine, _guests) = Machine::with_guests(BOARD);
    machine.console.command("kmdetach");
    machine.region(2).window().write(4, &99_u32.to_le_bytes());
    let said = machine.attach_all("");
    machine
        .console
        .check(said.contains("version"), "it is another version");
    machine.console.check(
        said.contains("Instance 3 (part3)"),
        "instance 3 is attached",
    );
    let list = machine.console.command("kmlist");
    machine
        .console
        .check(!list.contains("part2"), "instance 2 is none");
    machine.attach_all(" -f");
    let _guest = machine.guest(2);
    machine.see_running(2);
}

#[test]
fn an_instance_that_is_not_there_is_one_line_and_the_prompt() {
    let mut machine = Machine::start(BOARD);
    machine.attach_all("");
    for (line, says) in [
        ("kmconsole 9", "there is no instance 9"),
        ("kmconsole 1", "there is no instance 1"),
        ("kmconsole web", "'web' is no number of an instance"),
        ("kmexec 9 true", "there is no instance 9"),
        ("kmdetach 9", "there is no instance 9"),
        ("kmconsole 2", "instance 2 is not running"),
        ("kmexec 3 true", "instance 3 is not running"),
    ] {
        let said = machine.console.command(line);
        machine.console.check(said.contains(says), says);
        machine
            .console
            .check(said.trim().lines().count() == 1, "one line");
    }
}

#[test]
fn a_guest_that_scribbles_over_its_region_never_keeps_the_prompt() {
    let (mut machine, mut guests) = Machine::with_guests(BOARD);
    under_fire(&mut machine, Fire::Everywhere);
    assert_eq!(guests[0].end(), Some(1), "{}", guests[0].log());
    come_back(&mut machine, &mut guests);
}

#[test]
fn a_hostile_guest_whose_heart_beats_never_keeps_the_prompt() {
    let (mut machine, mut guests) = Machine::with_guests(BOARD);
    // What takes its part is no guestd.
    guests[0].signal(Signal::SIGKILL);
    under_fire(&mut machine, Fire::Segments);
    come_back(&mut machine, &mut guests);
}

/// Where a guest writes garbage.
#[derive(Clone, Copy, PartialEq)]
enum Fire {
    Everywhere,
    /// Its place shows an incarnation that beats, and where the segments are is as it was.
    Segments,
}

/// Gives all the commands while instance 2 writes garbage.
fn under_fire(machine: &mut Machine, fire: Fire) {
    let (region, over) = (machine.region(2), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| scribble(&region, fire, &over));
        let _end = CeaseFire(&over);
        for _ in 0..5 {
            machine.console.command("kmlist");
            machine.console.command("kmmonitorall 1 1");
            for (line, key) in [("kmexec 2 true", "\x03"), ("kmconsole 2", "\x1d")] {
                machine.console.begin(line);
                machine.console.press(key);
                machine.console.settle();
            }
            machine.console.command("kmdetach 2");
            machine.attach_all("");
        }
    });
}

/// Ends it when it is dropped, so that a failure is not waited for.
struct CeaseFire<'a>(&'a AtomicBool);

impl Drop for CeaseFire<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The other instance is unharmed, and this one begins anew.
fn come_back(machine: &mut Machine, guests: &mut [Guest; 2]) {
    machine.enter(3);
    machine.escape();
    machine.attach_all(" -f");
    guests[0] = machine.guest(2);
    machine.see_running(2);
    machine.enter(2);
    let said = machine.shell(2, "echo wh''ole");
    machine
        .console
        .check(said.contains("whole"), "a whole region");
}

/// Writes garbage until it is over.
fn scribble(region: &Mapping, fire: Fire, over: &AtomicBool) {
    let window = region.window();
    let start = if fire == Fire::Segments { SEGMENTS } else { 0 };
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut beat = 0_u32;
    while !over.load(Ordering::Relaxed) {
        for _ in 0..10_000 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let at = start + (((random >> 8) as usize % (window.len() - start - 8)) & !7);
            // Small numbers are more likely to be taken for something.
            let value = if random & 1 == 0 {
                random
            } else {
                random >> 56
            };
            window.write(at, &value.to_le_bytes());
        }
        if fire == Fire::Segments {
            beat += 1;
            let incarnation = 1 << 8 | 2_u32;
            window.write(SLOT, &incarnation.to_le_bytes());
            window.write(SLOT + 4, &beat.to_le_bytes());
        }
        thread::sleep(REST);
    }
}

/// Where the slot of partition 2 is.
const SLOT: usize = 256 + 128;
/// Behind all the tables of a region of 2 MiB with KMON's geometry.
const SEGMENTS: usize = 84 << 10;
