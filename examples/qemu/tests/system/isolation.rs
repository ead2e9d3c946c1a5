//! A guest has only its own region, and what it does there disturbs no other guest.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use cpio::newc::{Builder, ModeFileType, trailer};

use crate::common::{Fed, Home, built};
use crate::guests::{Guests, guest_with, home_of};

/// The path of the program of `reach.c` in the guests.
const REACH: &str = "/usr/bin/reach";
const REGION_LEN: u64 = 2 << 20;
/// The end of the searched physical memory of a guest: the end of the range above 4 GiB in
/// which its PCI bridge may place devices.
const REACHED: u64 = 6 << 30;

/// Creates two guests with the program of `reach.c`.
fn home() -> Home {
    let tools = tempfile::tempdir().unwrap();
    let program = tools.path().join("reach");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/system/reach.c");
    let compiled = Command::new("cc")
        .args(["-static", "-O1", "-Wall", "-Werror", "-o"])
        .args([&program, Path::new(source)])
        .status();
    assert!(compiled.unwrap().success(), "reach.c does not compile");
    // An archive after another one is unpacked over it.
    let mut archive = fs::read(built("guest/initramfs.cpio")).unwrap();
    archive.resize(archive.len().next_multiple_of(4), 0);
    let program = fs::read(&program).unwrap();
    let entry = Builder::new(&REACH[1..])
        .mode(0o755)
        .set_mode_file_type(ModeFileType::Regular);
    let mut writer = entry.write(&mut archive, program.len() as u32);
    writer.write_all(&program).unwrap();
    writer.finish().unwrap();
    trailer(&mut archive).unwrap();
    // The path is relative to the configuration, and exists as long as the directory.
    let guest = guest_with("initrd", "");
    let home = home_of(&[guest.clone(), guest]);
    fs::write(home.path().join("initrd"), archive).unwrap();
    home
}

/// Returns the file of the guest's device through which its region is mapped.
fn region_file(kmon: &mut Fed, number: u8) -> String {
    let script = "grep -l 0x1110 /sys/bus/pci/devices/*/device";
    let found = kmon.sh(number, script);
    let found: Vec<_> = found.lines().collect();
    assert_eq!(found.len(), 1, "{found:?}");
    let device = found[0].strip_suffix("/device").unwrap();
    format!("{device}/resource2")
}

#[test]
fn a_guest_that_overwrites_its_whole_region_disturbs_only_itself() {
    let home = home();
    let mut kmon = Fed::start_in(&home, &[]);
    let other = kmon.machine(3);
    for pattern in ["noise", "zero"] {
        let file = region_file(&mut kmon, 2);
        kmon.send(&format!(
            "kmexec 2 -- {REACH} {pattern} {file} 0 {}",
            REGION_LEN
        ));
        let one = kmon.list_until(2, |one| one["state"] == "corrupt" || one["state"] == "dead");
        assert!(one["detail"].is_string(), "{one}");
        kmon.see_error("instance 2 broke its region");
        assert_eq!(kmon.exec(3, "echo undisturbed"), "undisturbed");
        assert_eq!(kmon.ask("kmreset 2"), b"instance 2 is running\n");
        assert_eq!(kmon.exec(2, "echo back"), "back");
    }
    assert_eq!(kmon.list(3)["incarnation"], 1);
    assert_eq!(kmon.machine(3), other);
    assert!(!kmon.errors().contains("instance 3"), "{}", kmon.errors());
    assert_eq!(kmon.leave("quit"), Some(1));
}

/// Counts the ranges of instance 3's devices that are as long as a region.
fn count_region_ranges(kmon: &mut Fed) -> usize {
    let listed = kmon.exec(3, "cat /proc/iomem");
    let len = |line: &str| {
        let (range, owner) = line.trim().split_once(" : ")?;
        let (first, last) = range.split_once('-')?;
        let number = |text| u64::from_str_radix(text, 16).ok();
        let is_device = owner.starts_with("0000:");
        is_device.then_some(number(last)? - number(first)? + 1)
    };
    let lens = listed.lines().filter_map(len);
    lens.filter(|&len| len == REGION_LEN).count()
}

/// Returns the open files and the mappings of a process, from `/proc`.
fn open_and_mapped(pid: &str) -> String {
    let process = PathBuf::from("/proc").join(pid);
    let files = fs::read_dir(process.join("fd")).unwrap();
    let links = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
    let links = links.map(|link| format!("{}\n", link.display()));
    links.collect::<String>() + &fs::read_to_string(process.join("maps")).unwrap()
}

/// Returns the region of instance `number`, read from its machine.
fn region(kmon: &mut Fed, number: u8) -> Vec<u8> {
    let files = fs::read_dir(format!("/proc/{}/fd", kmon.machine(number))).unwrap();
    let name = format!("/memfd:kmon-{number}");
    let mut paths = files.map(|file| file.unwrap().path());
    let is_region = |path: &PathBuf| {
        fs::read_link(path).is_ok_and(|link| link.to_string_lossy().starts_with(&name))
    };
    fs::read(paths.find(is_region).unwrap()).unwrap()
}

/// Returns in how many pages of its physical memory instance 3 finds each of `secrets`.
fn finds(kmon: &mut Fed, secrets: [&str; 2]) -> [usize; 2] {
    // The secrets are complemented, since commands to a guest pass through its region.
    let hide = |byte: u8| format!("{:02x}", !byte);
    let hidden = secrets.map(|secret| secret.bytes().map(hide).collect::<String>());
    let hidden = hidden.join(" ");
    let said = kmon.exec(3, &format!("{REACH} find /dev/mem 0 {REACHED} {hidden}"));
    assert!(said.contains("searched "), "{said}");
    [0, 1].map(|n| said.matches(&format!("text {n} at ")).count())
}

#[test]
fn a_guest_can_reach_only_its_own_region() {
    let home = home();
    let mut kmon = Fed::start_in(&home, &[]);
    let secrets = [(2, "xyzzy-of-instance-two"), (3, "plugh-of-instance-three")];
    for (number, secret) in secrets {
        // The command does not contain the secret in one piece.
        let (first, rest) = secret.split_at(3);
        let script = format!("for i in $(seq 400); do echo {first}\"\"{rest}; done > /dev/pts/0");
        kmon.sh(number, &script);
        kmon.see_log(number, secret);
        let region = region(&mut kmon, number);
        let mut parts = region.windows(secret.len());
        let is_there = parts.any(|part| part == secret.as_bytes());
        assert!(is_there, "it is in the region of {number}");
    }
    // Fails unless there is one such device; the kernel's memory ranges must agree.
    region_file(&mut kmon, 3);
    assert_eq!(count_region_ranges(&mut kmon), 1);
    let [others, own] = finds(&mut kmon, secrets.map(|(_, secret)| secret));
    assert_eq!((others, own > 0), (0, true), "it finds its own only");
    // The machine does not have the other region open, so no guest in it can reach that.
    let machine = kmon.machine(3);
    let held = open_and_mapped(&machine);
    assert!(
        held.contains("memfd:kmon-3") && !held.contains("memfd:kmon-2"),
        "{held}"
    );
    assert_eq!(kmon.leave("quit"), Some(0));
}
