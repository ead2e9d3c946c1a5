//! KMON may end at any moment: the guests go on, and the next KMON uses them.

use std::fs;

use crate::common::Fed;
use crate::guests::{COUNT, Guests, guest, home_of, last_in_order};

#[test]
fn each_byte_of_a_guests_output_is_kept_once_across_deaths_of_kmon() {
    let home = home_of(&[guest("log_bytes = 33554432"), guest("")]);
    let mut kmon = Fed::start_in(&home, &[]);
    let machines = [2, 3].map(|number| kmon.machine(number));
    kmon.print(2, COUNT);
    kmon.see_log(2, "number-1000");
    for _ in 0..2 {
        kmon.kill();
        kmon = Fed::start_in(&home, &[]);
        kmon.see_error("continuing with the instances of an earlier KMON: 2, 3");
        for number in [2, 3] {
            kmon.see_state(number, "running");
            assert_eq!(kmon.exec(number, "echo found"), "found");
        }
        let last = last_in_order(&kmon.log(2));
        kmon.see_log(2, &format!("number-{}", last + 1000));
    }
    assert_eq!(kmon.leave("quit --keep"), Some(0));
    home.signal_server("-TERM");
    let mut kmon = Fed::start_in(&home, &[]);
    kmon.see_state(2, "running");
    kmon.exec(2, "touch /tmp/stop");
    kmon.see_log(2, "ended-2");
    last_in_order(&kmon.log(2));
    let one = kmon.list(2);
    assert_eq!(
        (&one["incarnation"], &one["dropped_bytes"]),
        (&1.into(), &0.into())
    );
    assert_eq!([2, 3].map(|number| kmon.machine(number)), machines);
    let lines = kmon.kernel_log(2);
    assert_eq!(lines.matches("Linux version").count(), 1, "{lines}");
    assert_eq!(kmon.leave("quit"), Some(0));
    // A process that has ended has no command line, even if it is not reaped yet.
    let runs = |pid: &String| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|c| !c.is_empty());
    assert!(!machines.iter().any(runs));
}
