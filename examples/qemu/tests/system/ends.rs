//! Guests that end, are ended, or are paused.

use crate::common::Fed;
use crate::guests::{COUNT, Guests, guest, home_of, kill, last_in_order};

#[test]
fn a_killed_qemu_is_reported_and_its_output_stays_and_the_other_guest_goes_on() {
    let home = home_of(&[guest("log_bytes = 33554432"), guest("")]);
    let mut kmon = Fed::start_in(&home, &[]);
    kmon.print(2, COUNT);
    kmon.see_log(2, "number-1000");
    let other = kmon.machine(3);
    let qemu = kmon.machine(2);
    kill(&qemu);
    kmon.see_error("instance 2 died: QEMU was ended by SIGKILL; kmreset 2 starts it again");
    let one = kmon.list(2);
    assert_eq!(one["state"], "dead");
    assert!(one["detail"].as_str().unwrap().contains("SIGKILL"), "{one}");
    let log = kmon.log(2);
    assert!(last_in_order(&log) >= 1000);
    assert!(kmon.kernel_log(2).contains("init: starting guestd"));
    assert_eq!(kmon.exec(3, "echo undisturbed"), "undisturbed");
    assert_eq!(kmon.ask("kmreset 2"), b"instance 2 is running\n");
    assert_eq!(kmon.exec(2, "echo back"), "back");
    // Earlier output stays before later output.
    assert!(kmon.log(2).starts_with(&log));
    assert_eq!(kmon.list(3)["incarnation"], 1);
    assert_eq!(kmon.machine(3), other);
    assert_eq!(kmon.leave("quit"), Some(0));
}

#[test]
fn a_panic_of_a_guests_kernel_is_reported_and_a_reset_boots_it_again() {
    let home = home_of(&[guest("")]);
    let mut kmon = Fed::start_in(&home, &[]);
    kmon.sh(
        2,
        "echo last-words > /dev/pts/0; echo last-kernel-words > /dev/kmsg",
    );
    kmon.see_log(2, "last-words");
    kmon.send("kmexec 2 -- sh -c 'echo c > /proc/sysrq-trigger'");
    kmon.see_error(
        "instance 2's kernel panicked; kmlog 2 --kernel prints its last lines, kmreset 2 starts it",
    );
    assert_eq!(kmon.list(2)["state"], "panicked");
    assert!(kmon.log(2).contains("last-words"));
    assert!(kmon.kernel_log(2).contains("last-kernel-words"));
    assert_eq!(kmon.ask("kmreset 2"), b"instance 2 is running\n");
    let printed = kmon.ask("kmconsole 2\necho a-new-$((1+1))-incarnation\nkmexitconsole");
    assert!(String::from_utf8_lossy(&printed).contains("a-new-2-incarnation"));
    // The lines of the running kernel follow those of the one that panicked.
    let lines = kmon.kernel_log(2);
    assert_eq!(lines.matches("Linux version").count(), 2);
    assert_eq!(kmon.leave("quit"), Some(1));
}

#[test]
fn a_guest_that_is_halted_or_ends_by_itself_is_loaded_again() {
    let home = home_of(&[guest("")]);
    let mut kmon = Fed::start_in(&home, &[]);
    assert_eq!(kmon.ask("kmhalt 2"), b"instance 2 is halted\n");
    assert_eq!(kmon.list(2)["state"], "halted");
    assert_eq!(kmon.ask("kmload 2"), b"instance 2 is running\n");
    kmon.send("kmexec 2 -- poweroff -f");
    kmon.see_error("instance 2 has ended by itself");
    assert_eq!(kmon.list(2)["state"], "halted");
}

/// Stops guestd of instance 2, so that it receives no commands.
fn stop_guestd(kmon: &mut Fed, first: &str) {
    kmon.send(&format!(
        "kmexec 2 -- sh -c '{first} kill -STOP $(cat /run/guestd.pid)'"
    ));
    kmon.see_error("instance 2 is silent: its heartbeat has stopped");
}

#[test]
fn a_guest_without_a_working_guestd_is_halted_by_its_power_button() {
    let home = home_of(&[guest("")]);
    let mut kmon = Fed::start_in(&home, &[]);
    stop_guestd(&mut kmon, "");
    let said = kmon.ask("kmhalt 2");
    let expected =
        "instance 2 is halted: guestd did not halt it, so KMON pressed its power button\n";
    assert_eq!(String::from_utf8(said).unwrap(), expected);
    assert_eq!(kmon.list(2)["state"], "halted");
}

#[test]
fn a_guest_that_ignores_everything_is_killed_and_loaded_again() {
    let home = home_of(&[guest("")]);
    let mut kmon = Fed::start_in(&home, &[]);
    stop_guestd(&mut kmon, "kill $(cat /run/acpid.pid);");
    let said = kmon.ask("kmhalt 2");
    let expected = "instance 2 is halted: it did not end in time and was killed\n";
    assert_eq!(String::from_utf8(said).unwrap(), expected);
    assert_eq!(kmon.ask("kmload 2"), b"instance 2 is running\n");
    assert_eq!(kmon.exec(2, "echo back"), "back");
}

#[test]
fn a_paused_guest_stops_and_loses_nothing() {
    let home = home_of(&[guest("log_bytes = 33554432")]);
    let mut kmon = Fed::start_in(&home, &[]);
    kmon.print(2, COUNT);
    kmon.see_log(2, "number-1000");
    assert_eq!(kmon.ask("kmpause 2"), b"instance 2 is paused\n");
    assert_eq!(kmon.list(2)["state"], "paused");
    assert_eq!(kmon.exec(2, "true"), "");
    kmon.see_error("instance 2 is paused; kmresume 2 continues it");
    // Longer than the limit of the heartbeat.
    let before = last_in_order(&kmon.log(2));
    std::thread::sleep(std::time::Duration::from_secs(4));
    let one = kmon.list(2);
    assert_eq!(one["state"], "paused", "{one}");
    assert_eq!(last_in_order(&kmon.log(2)), before);
    assert_eq!(kmon.ask("kmresume 2"), b"instance 2 continues\n");
    kmon.see_state(2, "running");
    kmon.exec(2, "touch /tmp/stop");
    kmon.see_log(2, "ended-2");
    assert!(last_in_order(&kmon.log(2)) > before);
    assert!(!kmon.errors().contains("silent"), "{}", kmon.errors());
    assert_eq!(kmon.list(2)["incarnation"], 1);
}
