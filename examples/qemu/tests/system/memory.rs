//! KMON tests which operations work across a guest's memory, and reports the result.

use std::thread;
use std::time::Duration;

use crate::common::{Fed, becomes_true};
use crate::guests::{Guests, guest, home_of};

/// Boots to try: on a busy machine KMON and the guest may never run at the same time.
const BOOTS: usize = 5;
/// Checks for a result during one boot, as long as KMON tests.
const CHECKS: usize = 100;

/// Returns the results for the memory of instance 2.
fn findings(kmon: &mut Fed) -> [String; 2] {
    for _ in 0..BOOTS {
        kmon.see_state(2, "running");
        for _ in 0..CHECKS {
            let one = kmon.list(2);
            let finding = |key: &str| one["memory"][key].as_str().unwrap_or("unknown").to_owned();
            let findings = ["read_modify_write", "fences"].map(finding);
            if !findings.contains(&"unknown".to_owned()) {
                return findings;
            }
            thread::sleep(Duration::from_millis(100));
        }
        kmon.ask("kmreset 2");
    }
    panic!("KMON and the guest never ran at the same time");
}

#[test]
fn a_guest_with_one_possible_processor_is_reported_without_compare_and_swap_and_goes_on() {
    let home = home_of(&[guest("extra = ['-smp', '1,maxcpus=1']")]);
    let mut kmon = Fed::start_in(&home, &[]);
    let findings = findings(&mut kmon);
    assert!(findings.contains(&"broken".to_owned()), "{findings:?}");
    kmon.see_error("does not work across this memory, ");
    kmon.see_error("-smp 1,maxcpus=2");
    let reported = |lines: String| lines.contains("does not work across this memory");
    assert!(
        becomes_true(|| reported(kmon.kernel_log(2))),
        "the guest also reports it"
    );
    let shown = String::from_utf8(kmon.ask("kmlist")).unwrap();
    assert!(shown.contains("running, no "), "{shown}");
    assert_eq!(kmon.exec(2, "echo goes on"), "goes on");
    let printed = kmon.ask("kmconsole 2\necho in-$((1+1))\nkmexitconsole");
    assert!(String::from_utf8_lossy(&printed).contains("in-2"));
}

#[test]
fn a_guest_with_two_possible_processors_has_no_broken_operation() {
    let home = home_of(&[guest("")]);
    let mut kmon = Fed::start_in(&home, &[]);
    assert_eq!(findings(&mut kmon), ["works", "works"]);
}
