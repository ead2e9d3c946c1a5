//! Configurations with guests, and what is done to all of them.

use std::fs;
use std::process::Command;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::common::{Fed, Home, becomes_true, built, home_with};

/// A guest of the image, with these keys beside what it boots; configured as in
/// `cargo xtask demo --guests qemu` if there are none.
pub(crate) fn guest(keys: &str) -> String {
    let initrd = built("guest/initramfs.cpio");
    guest_with(&initrd.display().to_string(), keys)
}

/// The same with another first file system.
pub(crate) fn guest_with(initrd: &str, keys: &str) -> String {
    let kernel = built("guest/kernel/vmlinuz");
    format!(
        "[[instance]]\nkind = 'qemu'\nkernel = '{}'\ninitrd = '{initrd}'\n{}\n{keys}\n",
        kernel.display(),
        // A q35, which interrupts need, takes more for itself.
        if keys.contains("doorbell") {
            ""
        } else {
            "memory = '96M'"
        }
    )
}

/// A directory with a configuration of these instances.
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

/// A text of hexadecimal digits, as `sha256sum` prints it.
pub(crate) fn digest(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What is done with guests from a script.
pub(crate) trait Guests {
    /// What a command in instance `number` printed, as text without the last line end.
    fn exec(&mut self, number: u8, command: &str) -> String;

    /// The same for a script of the guest's shell, without single quotes in it.
    fn sh(&mut self, number: u8, script: &str) -> String;

    /// Lets a script print to the console of instance `number`, and does not wait for it.
    fn print(&mut self, number: u8, script: &str);

    /// The output of instance `number` that is kept.
    fn log(&mut self, number: u8) -> String;

    /// Waits until that has `text`.
    fn see_log(&mut self, number: u8, text: &str);

    fn kernel_log(&mut self, number: u8) -> String;

    fn see_state(&mut self, number: u8, state: &str) -> Value;

    /// The process of the machine that instance `number` is, once that runs.
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

/// A script of the guest's shell that prints `number-1` and so on, until there is a file
/// `/tmp/stop`.
pub(crate) const COUNT: &str = "echo; i=0; while [ ! -e /tmp/stop ]; do i=$((i+1)); echo number-$i; done; \
     echo ended-$((1+1))";

/// Fails unless the numbers in what [`COUNT`] printed are in order, each once; the last.
pub(crate) fn last_in_order(log: &str) -> u32 {
    let lines = log.lines().map(str::trim_end);
    let numbers = lines.filter_map(|line| line.strip_prefix("number-")?.parse().ok());
    let numbers: Vec<u32> = numbers.collect();
    let expected = 1..=numbers.len() as u32;
    let wrong = numbers
        .iter()
        .zip(expected)
        .find(|(is, wanted)| *is != wanted);
    assert_eq!(wrong, None, "a number is missing, or there twice");
    *numbers.last().expect("it has counted")
}

/// Ends a process as nobody expects it.
pub(crate) fn kill(pid: &str) {
    let killed = Command::new("kill").args(["-KILL", pid]).status();
    assert!(killed.unwrap().success());
}
