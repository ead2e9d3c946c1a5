//! What happens to a machine is seen from here, and what is wished from here happens.

mod support;

use std::process::Command;

use kmon_qemu::{End, Event, Machine, MachineRecord, Off, Status, Transport};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use shmem_core::Mapping;
use shmem_core::primitive::Ordering::Relaxed;
use support::{Bench, Guest, Wish, built};

#[test]
fn a_paused_guest_stands_still_and_goes_on() {
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
fn a_reset_boots_anew_and_the_region_stays() {
    let guest = Guest::boot(Transport::Ivshmem);
    guest.machine.pause().unwrap();
    guest.forget();
    guest.machine.reset().unwrap();
    guest.see_event(Event::Reset { by_guest: false });
    guest.see_up(2);
    guest.see_status(Status::Running);
}

#[test]
fn a_guest_that_panics_stands_still_until_it_is_reset() {
    let guest = Guest::boot(Transport::Reserved);
    guest.ask(Wish::Panic);
    guest.see_status(Status::Panicked);
    guest.see_event(Event::Panicked);
    guest.forget();
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
fn a_guest_that_switches_itself_off_is_seen() {
    let guest = Guest::boot(Transport::Ivshmem);
    guest.ask(Wish::PowerOff);
    guest.see_status(Status::Ended(End::Off(Off::Guest)));
}

#[test]
fn a_guest_resets_itself_only_once_it_may() {
    let guest = Guest::boot(Transport::Ivshmem);
    guest.machine.allow_reboot().unwrap();
    guest.forget();
    guest.ask(Wish::Reboot);
    guest.see_event(Event::Reset { by_guest: true });
    guest.forget();
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
    // It may not have answered yet.
    guest.wait("the machine can be told to quit", |guest| {
        guest.machine.quit().is_ok()
    });
    guest.see_status(Status::Ended(End::Off(Off::Host)));
}

#[test]
fn a_machine_that_does_not_answer_is_an_error_in_time() {
    let guest = Bench::new(Transport::Ivshmem).start();
    let qemu = Pid::from_raw(guest.machine.pid());
    kill(qemu, Signal::SIGSTOP).unwrap();
    let error = guest.machine.pause().unwrap_err().to_string();
    assert_eq!(error, "QEMU does not answer `stop`");
    kill(qemu, Signal::SIGCONT).unwrap();
    // It was told, after all.
    guest.see_status(Status::Paused);
    guest.machine.resume().unwrap();
}

#[test]
fn a_machine_is_found_again_when_its_starter_is_gone() {
    let bench = Bench::new(Transport::Ivshmem);
    let started = Command::new(built("examples/start"))
        .arg(built("guest/kernel/vmlinuz"))
        .arg(bench.path("initrd"))
        .arg(bench.path("qmp"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&started.stderr);
    assert!(started.status.success(), "{said}");
    let kept: MachineRecord = serde_json::from_slice(&started.stdout).unwrap();
    let (machine, region) = Machine::find(&kept).unwrap();
    let guest = Guest::found(machine, Mapping::from_fd(region).unwrap(), bench.home);
    guest.see_up(1);
    assert_eq!(guest.machine.status(), Status::Running);
    // One at a time is connected; the next has its turn when that is gone.
    let (second, region) = Machine::find(&kept).unwrap();
    assert_eq!(second.status(), Status::Starting);
    let region = Mapping::from_fd(region).unwrap();
    assert_eq!(region.window().word(0).load(Relaxed), 0x7570);
    let other = MachineRecord {
        start: kept.start + 100,
        ..kept.clone()
    };
    assert!(Machine::find(&other).is_err(), "another process");
    guest.machine.kill();
    guest.see_status(Status::Ended(End::Unknown));
    assert!(Machine::find(&kept).is_err());
}
