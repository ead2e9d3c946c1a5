//! Events of a machine are reported, and requests to it are carried out.

mod support;

use std::process::Command;

use kmon_qemu::{End, Event, Machine, MachineRecord, Off, Status, Transport};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use shmem_core::Mapping;
use shmem_core::primitive::Ordering::Relaxed;
use support::{Bench, Guest, Wish, built};

#[test]
fn a_paused_guest_stops_and_goes_on() {
    let guest = Guest::boot(Transport::Ivshmem);
    guest.machine.pause().unwrap();
    assert_eq!(guest.machine.status(), Status::Paused);
    let round = guest.word(8);
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!(guest.word(8), round);
    guest.machine.resume().unwrap();
    assert_eq!(guest.machine.status(), Status::Running);
    guest.see_alive();
    guest.see_event(Event::Stopped);
    guest.see_event(Event::Resumed);
}

#[test]
fn a_reset_boots_again_and_keeps_the_region() {
    let guest = Guest::boot(Transport::Ivshmem);
    guest.machine.pause().unwrap();
    guest.clear_state();
    guest.machine.reset().unwrap();
    guest.see_event(Event::Reset { by_guest: false });
    guest.see_up(2);
    guest.see_status(Status::Running);
}

#[test]
fn a_guest_that_panics_stops_until_it_is_reset() {
    let guest = Guest::boot(Transport::Reserved);
    guest.ask(Wish::Panic);
    guest.see_status(Status::Panicked);
    guest.see_event(Event::Panicked);
    guest.clear_state();
    guest.machine.reset().unwrap();
    guest.see_up(2);
    assert_eq!(guest.machine.status(), Status::Running);
}

#[test]
fn a_guest_that_obeys_its_power_button_is_switched_off() {
    let guest = Guest::boot(Transport::Ivshmem);
    guest.machine.power_down().unwrap();
    guest.see_status(Status::Ended(End::Off(Off::Guest)));
    guest.see_event(Event::PowerDown);
    guest.see_event(Event::Shutdown(Off::Guest));
}

#[test]
fn a_guest_that_switches_itself_off_is_reported() {
    let guest = Guest::boot(Transport::Ivshmem);
    guest.ask(Wish::PowerOff);
    guest.see_status(Status::Ended(End::Off(Off::Guest)));
}

#[test]
fn a_guest_resets_itself_only_if_that_is_allowed() {
    let guest = Guest::boot(Transport::Ivshmem);
    guest.machine.allow_reboot().unwrap();
    guest.clear_state();
    guest.ask(Wish::Reboot);
    guest.see_event(Event::Reset { by_guest: true });
    guest.clear_state();
    guest.see_up(2);
    drop(guest);
    let guest = Guest::boot(Transport::Ivshmem);
    guest.ask(Wish::Reboot);
    guest.see_status(Status::Ended(End::Off(Off::GuestReset)));
}

#[test]
fn a_kernel_that_cannot_boot_ends_its_machine() {
    let mut bench = Bench::new(Transport::Ivshmem);
    bench.plan.append = "rdinit=/nowhere".to_owned();
    let guest = bench.start();
    guest.see_status(Status::Ended(End::Off(Off::GuestReset)));
}

#[test]
fn a_machine_that_is_killed_or_quits_has_ended() {
    let guest = Bench::new(Transport::Ivshmem).start();
    kill(Pid::from_raw(guest.machine.pid()), Signal::SIGKILL).unwrap();
    guest.see_status(Status::Ended(End::Signal(9)));
    assert!(guest.machine.pause().is_err());
    let guest = Bench::new(Transport::Ivshmem).start();
    // QEMU may not answer yet.
    guest.wait("the machine accepts `quit`", |guest| {
        guest.machine.quit().is_ok()
    });
    guest.see_status(Status::Ended(End::Off(Off::Host)));
}

#[test]
fn a_machine_that_does_not_answer_is_an_error_within_the_time_limit() {
    let guest = Bench::new(Transport::Ivshmem).start();
    let qemu = Pid::from_raw(guest.machine.pid());
    kill(qemu, Signal::SIGSTOP).unwrap();
    let error = guest.machine.pause().unwrap_err().to_string();
    assert_eq!(error, "QEMU does not answer `stop`");
    kill(qemu, Signal::SIGCONT).unwrap();
    // QEMU carries the command out later.
    guest.see_status(Status::Paused);
    guest.machine.resume().unwrap();
}

#[test]
fn a_machine_is_found_again_after_its_starter_has_ended() {
    let bench = Bench::new(Transport::Ivshmem);
    let started = Command::new(built("examples/start"))
        .arg(built("guest/kernel/vmlinuz"))
        .arg(bench.path("initrd"))
        .arg(bench.path("qmp"))
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&started.stderr);
    assert!(started.status.success(), "{errors}");
    let record: MachineRecord = serde_json::from_slice(&started.stdout).unwrap();
    let (machine, region) = Machine::find(&record).unwrap();
    let guest = Guest::from_machine(machine, Mapping::from_fd(region).unwrap(), bench.home);
    guest.see_up(1);
    assert_eq!(guest.machine.status(), Status::Running);
    // QEMU serves one connection at a time; the second must wait for the end of the first.
    let (second, region) = Machine::find(&record).unwrap();
    assert_eq!(second.status(), Status::Starting);
    let region = Mapping::from_fd(region).unwrap();
    assert_eq!(region.window().word(0).load(Relaxed), 0x7570);
    let other = MachineRecord {
        start: record.start + 100,
        ..record.clone()
    };
    assert!(Machine::find(&other).is_err(), "another process");
    guest.machine.kill();
    guest.see_status(Status::Ended(End::Unknown));
    assert!(Machine::find(&record).is_err());
}
