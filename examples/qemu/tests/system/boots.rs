//! Guests boot over every transport, or an error says why not.

use crate::common::{Fed, run_script_in};
use crate::disk::{Disk, MARK};
use crate::guests::{Guests, digest, guest, home_of};

const TRANSPORTS: [(u8, &str); 3] = [(2, "ivshmem"), (3, "reserved"), (4, "doorbell")];

#[test]
fn guests_run_over_every_transport_side_by_side() {
    let transport = |(_, name)| guest(&format!("transport = '{name}'"));
    let home = home_of(&TRANSPORTS.map(transport));
    let mut kmon = Fed::start_in(&home, &[]);
    for (number, name) in TRANSPORTS {
        let one = kmon.see_state(number, "running");
        assert_eq!(one["transport"], name);
        let own = format!("part{number}");
        assert_eq!(kmon.exec(number, "hostname"), own);
        let script = format!("kmconsole {number}\necho at-$(hostname)\nkmexitconsole");
        let printed = kmon.ask(&script);
        let printed = String::from_utf8_lossy(&printed);
        assert!(printed.contains(&format!("at-{own}")), "{printed}");
        kmon.sh(number, "dd if=/dev/urandom of=/tmp/bytes bs=65536 count=32");
        let said = kmon.exec(number, "sha256sum /tmp/bytes");
        let bytes = kmon.ask(&format!("kmexec {number} -- cat /tmp/bytes"));
        assert_eq!((bytes.len(), &said[..64]), (2 << 20, &*digest(&bytes)));
        assert_eq!(kmon.sh(number, "kill -9 $$; true"), "");
        let one = kmon.list(number);
        let total = kmon.exec(number, "grep MemTotal /proc/meminfo");
        assert!(total.contains(&one["memory_total_kb"].to_string()), "{one}");
        let lines = kmon.kernel_log(number);
        assert!(
            lines.lines().next().unwrap().contains("Linux version"),
            "{lines}"
        );
    }
    // The device with interrupts is the one that vfio drives.
    assert!(kmon.exec(4, "cat /proc/interrupts").contains("vfio"));
    assert!(!kmon.exec(2, "cat /proc/interrupts").contains("vfio"));
    for (number, _) in TRANSPORTS {
        let said = format!("instance {number} is halted\n");
        assert_eq!(kmon.ask(&format!("kmhalt {number}")), said.as_bytes());
    }
    assert_eq!(kmon.leave("quit"), Some(1));
}

#[test]
fn a_missing_kernel_is_an_error_in_the_configuration() {
    let home = home_of(&["[[instance]]\nkind = 'qemu'\nkernel = '/no/vmlinuz'\n".to_owned()]);
    let output = run_script_in(&home, &[], "");
    let errors = String::from_utf8(output.stderr).unwrap();
    let expected = "kmon.toml:6: key kernel: `/no/vmlinuz` cannot be read: No such file";
    assert!(errors.contains(expected), "{errors}");
    assert_eq!(
        (output.status.success(), errors.lines().count()),
        (false, 1)
    );
}

#[test]
fn a_guest_that_cannot_boot_is_reported_and_not_started_again_and_again() {
    let none = "[[instance]]\nkind = 'qemu'\nkernel = 'kmon.toml'\n".to_owned();
    let bad = guest("append = 'rdinit=/nowhere root=/dev/nothing'");
    let home = home_of(&[none, bad]);
    let mut kmon = Fed::start_in(&home, &[]);
    kmon.see_error("instance 2 was not started: ");
    assert_eq!(kmon.list(2)["state"], "dead");
    let one = kmon.see_state(3, "dead");
    assert_eq!(one["detail"], "reset by its guest during the boot");
    kmon.see_error(
        "instance 3 died: reset by its guest during the boot; kmreset 3 starts it again",
    );
    // The next boot ends the same way.
    kmon.ask("kmreset 3");
    kmon.see_error("kmreset: instance 3 is not running (dead: reset by its guest during the boot)");
    assert_eq!(kmon.leave("quit"), Some(1));
}

#[test]
fn a_boot_is_watched_until_the_guest_runs() {
    let home = home_of(&[guest("")]);
    let mut kmon = Fed::start_in(&home, &[]);
    kmon.see_state(2, "running");
    kmon.ask("kmhalt 2");
    let shown = String::from_utf8(kmon.ask("kmload 2 --watch")).unwrap();
    // After the output of the first boot, which is shown now.
    let (_, boot) = shown
        .split_once("[kmon: the kernel was restarted]\n")
        .expect("another start");
    assert!(
        boot.contains("Linux version") && boot.contains("init: starting guestd"),
        "{boot}"
    );
    assert_eq!(boot.lines().next_back(), Some("instance 2 is running"));
    // It has already been shown.
    assert_eq!(kmon.ask("kmlog 2 --kernel"), b"");
}

#[test]
fn a_guest_boots_from_a_disk_repeatedly() {
    for name in ["disk.img", "disk.qcow2"] {
        let disk = Disk::new(name);
        let path = disk.path.display();
        let keys = format!("kind = 'qemu'\ndisk = '{path}'\nmemory = '160M'\n");
        let home = home_of(&[format!("[[instance]]\n{keys}")]);
        let mut kmon = Fed::start_in(&home, &[]);
        for _ in 0..2 {
            kmon.see_state(2, "running");
            assert!(kmon.exec(2, "cat /proc/cmdline").contains(MARK));
            kmon.ask("kmreset 2");
        }
        assert_eq!(kmon.ask("kmhalt 2"), b"instance 2 is halted\n");
        assert_eq!(kmon.leave("quit"), Some(0));
    }
}
