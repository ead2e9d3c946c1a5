//! Input of a guest or a user that the protocol does not define.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use shmem_core::Mapping;
use u_boot_system_test::guest::Guest;
use u_boot_system_test::machine::Machine;

use crate::BOARD;

/// The pause between two bursts. Without it, when all processors were busy and yielded all the
/// time, a kernel did not run the workers of any terminal for a minute.
const PAUSE: Duration = Duration::from_micros(100);

#[test]
fn memory_that_is_neither_blank_nor_a_region_is_formatted_only_with_the_option() {
    let mut machine = Machine::start(BOARD);
    for number in [2, 3] {
        machine.region(number).window().write(64, &[0xa5; 4096]);
    }
    let output = machine.attach_all("");
    let refused = output.matches("it is not a region, and not blank").count();
    machine.console.check(refused == 2, "both were refused");
    let output = machine.attach_all(" -f");
    let formatted = output.matches(": formatted").count();
    machine.console.check(formatted == 2, "both were formatted");
    let _guest = machine.guest(2);
    machine.see_running(2);
}

#[test]
fn a_region_of_another_version_is_refused_until_it_is_formatted_again() {
    let (mut machine, _guests) = Machine::with_guests(BOARD);
    machine.console.command("kmdetach");
    machine.region(2).window().write(4, &99_u32.to_le_bytes());
    let output = machine.attach_all("");
    machine
        .console
        .check(output.contains("version"), "its version is reported");
    machine.console.check(
        output.contains("Instance 3 (part3)"),
        "instance 3 is attached",
    );
    let list = machine.console.command("kmlist");
    machine
        .console
        .check(!list.contains("part2"), "instance 2 is not attached");
    machine.attach_all(" -f");
    let _guest = machine.guest(2);
    machine.see_running(2);
}

#[test]
fn an_instance_that_does_not_exist_is_one_line_of_error_and_the_prompt() {
    let mut machine = Machine::start(BOARD);
    machine.attach_all("");
    for (line, says) in [
        ("kmconsole 9", "there is no instance 9"),
        ("kmconsole 1", "there is no instance 1"),
        ("kmconsole web", "'web' is not an instance number"),
        ("kmexec 9 true", "there is no instance 9"),
        ("kmdetach 9", "there is no instance 9"),
        ("kmconsole 2", "instance 2 is not running"),
        ("kmexec 3 true", "instance 3 is not running"),
    ] {
        let output = machine.console.command(line);
        machine.console.check(output.contains(says), says);
        machine
            .console
            .check(output.trim().lines().count() == 1, "the error is one line");
    }
}

#[test]
fn a_guest_that_overwrites_its_region_never_blocks_the_prompt() {
    let (mut machine, mut guests) = Machine::with_guests(BOARD);
    under_fire(&mut machine, Fire::Everywhere);
    assert_eq!(guests[0].end(), Some(1), "{}", guests[0].log());
    come_back(&mut machine, &mut guests);
}

#[test]
fn a_hostile_guest_whose_heart_beats_never_blocks_the_prompt() {
    let (mut machine, mut guests) = Machine::with_guests(BOARD);
    // A program that is not guestd takes its slot.
    guests[0].signal(Signal::SIGKILL);
    under_fire(&mut machine, Fire::Segments);
    come_back(&mut machine, &mut guests);
}

/// Where a guest writes garbage.
#[derive(Clone, Copy, PartialEq)]
enum Fire {
    Everywhere,
    /// The slot shows an incarnation that beats, and the tables of the segments are unchanged.
    Segments,
}

/// Runs all the commands while instance 2 writes garbage.
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

/// Ends the garbage when it is dropped, also after a failure.
struct CeaseFire<'a>(&'a AtomicBool);

impl Drop for CeaseFire<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Checks that the other instance works, and starts this one with a new region.
fn come_back(machine: &mut Machine, guests: &mut [Guest; 2]) {
    machine.enter(3);
    machine.escape();
    machine.attach_all(" -f");
    guests[0] = machine.guest(2);
    machine.see_running(2);
    machine.enter(2);
    let output = machine.shell(2, "echo wh''ole");
    machine
        .console
        .check(output.contains("whole"), "the region works");
}

/// Writes garbage until `over` is set.
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
            // Small numbers are more likely to be valid.
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
        thread::sleep(PAUSE);
    }
}

/// Offset of the slot of partition 2.
const SLOT: usize = 256 + 128;
/// Offset after all the tables of a region of 2 MiB with KMON's geometry.
const SEGMENTS: usize = 84 << 10;
