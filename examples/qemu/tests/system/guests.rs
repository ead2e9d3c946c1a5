//! Configurations with guests, and operations on guests.

use std::fs;
use std::process::Command;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::common::{Fed, Home, becomes_true, built, home_with};

/// Configures a guest of the image with further `keys`. Without them it is configured as in
/// `cargo xtask demo --guests qemu`.
pub(crate) fn guest(keys: &str) -> String {
    let initrd = built("guest/initramfs.cpio");
    guest_with(&initrd.display().to_string(), keys)
}

/// Configures a guest with another initramfs.
pub(crate) fn guest_with(initrd: &str, keys: &str) -> String {
    let kernel = built("guest/kernel/vmlinuz");
    format!(
        "[[instance]]\nkind = 'qemu'\nkernel = '{}'\ninitrd = '{initrd}'\n{}\n{keys}\n",
        kernel.display(),
        // A q35, which interrupts need, uses more memory itself.
        if keys.contains("doorbell") {
            ""
        } else {
            "memory = '96M'"
        }
    )
}

/// Creates a directory with a configuration of these instances.
pub(crate) fn home_of(instances: &[String]) -> Home {
    home_with(&format!("[kmon]\nperiod = 0.5\n\n{}", instances.concat()))
}

/// The release of the guests' kernel.
pub(crate) fn guest_release() -> String {
    let releases = fs::read_dir(built("guest/kernel/lib/modules")).unwrap();
    let names = releases.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let names: Vec<_> = names.collect();
    assert_eq!(names.len(), 1, "{names:?}");
    names.into_iter().next().unwrap()
}

/// Returns the SHA-256 digest in hexadecimal, as `sha256sum` prints it.
pub(crate) fn digest(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Operations on guests from a script.
pub(crate) trait Guests {
    /// Returns the output of a command in instance `number`, as text without the last line end.
    fn exec(&mut self, number: u8, command: &str) -> String;

    /// Returns the output of a script of the guest's shell, which must have no single quotes.
    fn sh(&mut self, number: u8, script: &str) -> String;

    /// Starts a script that prints to the console of instance `number`.
    fn print(&mut self, number: u8, script: &str);

    /// Returns the kept output of instance `number`.
    fn log(&mut self, number: u8) -> String;

    /// Waits until the kept output contains `text`.
    fn see_log(&mut self, number: u8, text: &str);

    fn kernel_log(&mut self, number: u8) -> String;

    fn see_state(&mut self, number: u8, state: &str) -> Value;

    /// Waits until instance `number` runs. Returns the process number of its machine.
    fn machine(&mut self, number: u8) -> String;
}

impl Guests for Fed {
    fn exec(&mut self, number: u8, command: &str) -> String {
        let printed = self.ask(&format!("kmexec {number} -- {command}"));
        let text = String::from_utf8(printed).unwrap();
        text.trim_end().to_owned()
    }

    fn sh(&mut self, number: u8, script: &str) -> String {
        self.exec(number, &format!("sh -c '{script}'"))
    }

    fn print(&mut self, number: u8, script: &str) {
        // In a session of its own it outlives the command.
        let script = script.replace('\\', "\\\\").replace('"', "\\\"");
        self.sh(
            number,
            &format!("setsid sh -c \"{script}\" < /dev/null > /dev/pts/0 2>&1 &")
                .replace('$', "\\$"),
        );
    }

    fn log(&mut self, number: u8) -> String {
        let printed = self.ask(&format!("kmlog {number} --all"));
        String::from_utf8_lossy(&printed).into_owned()
    }

    fn see_log(&mut self, number: u8, text: &str) {
        let seen = becomes_true(|| self.log(number).contains(text));
        assert!(seen, "no {text:?} in {}", self.log(number));
    }

    fn kernel_log(&mut self, number: u8) -> String {
        let printed = self.ask(&format!("kmlog {number} --kernel --all"));
        String::from_utf8(printed).unwrap()
    }

    fn see_state(&mut self, number: u8, state: &str) -> Value {
        self.list_until(number, |one| one["state"] == state)
    }

    fn machine(&mut self, number: u8) -> String {
        self.see_state(number, "running")["pid"].to_string()
    }
}

/// A script of the guest's shell that prints `number-1` and so on, until the file `/tmp/stop`
/// exists.
pub(crate) const COUNT: &str = "echo; i=0; while [ ! -e /tmp/stop ]; do i=$((i+1)); echo number-$i; done; \
     echo ended-$((1+1))";

/// Returns the last number that [`COUNT`] printed. Fails unless the numbers are in order, each
/// once.
pub(crate) fn last_in_order(log: &str) -> u32 {
    let lines = log.lines().map(str::trim_end);
    let numbers = lines.filter_map(|line| line.strip_prefix("number-")?.parse().ok());
    let numbers: Vec<u32> = numbers.collect();
    let expected = 1..=numbers.len() as u32;
    let wrong = numbers
        .iter()
        .zip(expected)
        .find(|(is, wanted)| *is != wanted);
    assert_eq!(wrong, None, "a number is missing, or printed twice");
    *numbers.last().expect("it has counted")
}

/// Kills a process.
pub(crate) fn kill(pid: &str) {
    let killed = Command::new("kill").args(["-KILL", pid]).status();
    assert!(killed.unwrap().success());
}
