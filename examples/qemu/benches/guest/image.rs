//! The guest's files: those of `cargo xtask guest-image`, and the bench's own behind them.

use std::env;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use cpio::newc::{Builder, ModeFileType, trailer};

/// Modules for a virtio console.
const MODULES: [&str; 2] = ["virtio_pci", "virtio_console"];
/// Where their paths are, one a line.
pub(crate) const LISTED: &str = "/etc/bench.load";
/// The guest's half, as `cargo xtask bench` builds it.
const ECHO: &str = "guest/cargo/x86_64-unknown-linux-gnu/release/examples/guest-echo";

/// What `cargo xtask bench` has built: it is in cargo's target directory, which the running
/// bench is in.
pub(crate) fn built(name: &str) -> Result<PathBuf> {
    let bench = env::current_exe()?;
    let mut places = bench.ancestors().skip(1).map(|place| place.join(name));
    places.find(|path| path.exists()).with_context(|| {
        format!("no {name} in the target directory: run `cargo xtask bench --only guest`")
    })
}

/// Writes the first file system of the guest.
pub(crate) fn write(to: &Path) -> Result<()> {
    // An archive behind another one is unpacked over it.
    let mut archive = fs::read(built("guest/initramfs.cpio")?)?;
    archive.resize(archive.len().next_multiple_of(4), 0);
    add(&mut archive, "usr/bin/guest-echo", &fs::read(built(ECHO)?)?)?;
    let mut listed = String::new();
    for path in modules(&built("guest/kernel")?)? {
        let name = path.file_name().context("a module has no name")?;
        let name = format!("lib/modules/{}", name.to_string_lossy());
        add(&mut archive, &name, &fs::read(&path)?)?;
        listed += &format!("/{name}\n");
    }
    add(
        &mut archive,
        LISTED.trim_start_matches('/'),
        listed.as_bytes(),
    )?;
    trailer(&mut archive)?;
    fs::write(to, archive)?;
    Ok(())
}

fn add(archive: &mut Vec<u8>, name: &str, bytes: &[u8]) -> Result<()> {
    let entry = Builder::new(name)
        .mode(0o755)
        .set_mode_file_type(ModeFileType::Regular);
    let mut writer = entry.write(archive, u32::try_from(bytes.len())?);
    writer.write_all(bytes)?;
    writer.finish()?;
    Ok(())
}

/// Each behind those that it needs.
fn modules(kernel: &Path) -> Result<Vec<PathBuf>> {
    let release = fs::read_dir(kernel.join("lib/modules"))?.next();
    let release = release.context("the kernel has no modules")??.file_name();
    let mut paths = Vec::new();
    for name in MODULES {
        let shown = Command::new("/sbin/modprobe")
            .arg("--dirname")
            .arg(kernel)
            .arg("--set-version")
            .arg(&release)
            .args(["--show-depends", name])
            .output()
            .context("cannot run /sbin/modprobe")?;
        ensure!(shown.status.success(), "the kernel has no module {name}");
        let shown = String::from_utf8(shown.stdout)?;
        let loaded = shown
            .lines()
            .filter_map(|line| line.strip_prefix("insmod "));
        for path in loaded.map(|line| PathBuf::from(line.trim())) {
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
    }
    Ok(paths)
}
