//! A disk with its own boot loader, which starts the image's kernel.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::common::built;

/// A kernel parameter that only the disk's boot loader sets.
pub(crate) const MARK: &str = "shmr.test=from-disk";

/// A disk file that is removed when this is dropped.
pub(crate) struct Disk {
    pub(crate) path: PathBuf,
    _directory: TempDir,
}

impl Disk {
    /// Creates a file system that SYSLINUX boots. The extension of `name` decides the format.
    pub(crate) fn new(name: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| directory.path().join(name);
        let (raw, menu) = (file("disk.img"), file("syslinux.cfg"));
        let parameters = format!("panic=-1 no_timer_check tsc=reliable {MARK}");
        let label = "KERNEL vmlinuz\n INITRD initrd";
        let text = format!("DEFAULT linux\nLABEL linux\n {label}\n APPEND {parameters}\n");
        fs::write(&menu, text).unwrap();
        fs::File::create(&raw).unwrap().set_len(64 << 20).unwrap();
        run("/sbin/mkfs.vfat", &[&raw]);
        for (from, to) in [
            (built("guest/kernel/vmlinuz"), "::vmlinuz"),
            (built("guest/initramfs.cpio"), "::initrd"),
            (menu, "::syslinux.cfg"),
        ] {
            run("mcopy", &["-i".into(), raw.clone(), from, to.into()]);
        }
        run("syslinux", &["--install".into(), raw.clone()]);
        let path = file(name);
        if path != raw {
            let kind = path.extension().unwrap().into();
            run(
                "qemu-img",
                &["convert".into(), "-O".into(), kind, raw, path.clone()],
            );
        }
        Self {
            path,
            _directory: directory,
        }
    }
}

fn run<A: AsRef<std::ffi::OsStr>>(program: &str, arguments: &[A]) {
    let mut command = Command::new(program);
    let ended = command.args(arguments).stdin(Stdio::null()).output();
    let ended = ended.unwrap_or_else(|error| panic!("{program}: {error}"));
    let errors = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{program}: {errors}");
}
