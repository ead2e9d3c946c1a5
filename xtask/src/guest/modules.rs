//! The kernel modules that a guest loads, each after those that it needs.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::kernel::Kernel;

/// Modules, each with its purpose.
type Wanted = [(&'static str, &'static str)];

/// Modules that every guest loads.
const ALWAYS: &Wanted = &[
    ("pvpanic-mmio", "reports a panic to QEMU"),
    ("evdev", "shows the power button to programs"),
    ("button", "drives the power button"),
];
/// Further modules of a guest with interrupts.
const DOORBELL: &Wanted = &[
    ("vfio-pci", "receives the interrupts of ivshmem-doorbell"),
    ("vfio_iommu_type1", "makes vfio-pci usable"),
];

/// Further modules for the measurements.
const BENCH: &Wanted = &[
    ("virtio_pci", "finds the virtio console"),
    ("virtio_console", "drives the virtio console"),
];

/// Paths of modules, in the order of loading.
pub(super) struct Modules {
    pub(super) always: Vec<PathBuf>,
    pub(super) doorbell: Vec<PathBuf>,
}

pub(super) fn in_order(kernel: &Kernel) -> Result<Modules> {
    Ok(Modules {
        always: paths(kernel, ALWAYS)?,
        doorbell: paths(kernel, DOORBELL)?,
    })
}

pub(super) fn for_bench(kernel: &Kernel) -> Result<Vec<PathBuf>> {
    paths(kernel, BENCH)
}

fn paths(kernel: &Kernel, wanted: &Wanted) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for (name, reason) in wanted {
        let shown = Command::new("/sbin/modprobe")
            .arg("--dirname")
            .arg(&kernel.root)
            .args(["--set-version", &kernel.release])
            .args(["--show-depends", name])
            .output()
            .context("cannot run /sbin/modprobe")?;
        ensure!(
            shown.status.success(),
            "the kernel has no module {name}, which {reason}: {}",
            String::from_utf8_lossy(&shown.stderr).trim()
        );
        for path in loaded(&String::from_utf8_lossy(&shown.stdout)) {
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
    }
    Ok(paths)
}

/// Returns the paths in the commands that modprobe shows; built-in modules have none.
fn loaded(commands: &str) -> Vec<PathBuf> {
    let words = commands.lines().filter_map(|line| {
        let path = line.strip_prefix("insmod ")?;
        path.split_whitespace().next()
    });
    words.map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_modules_are_not_loaded() {
        let commands = "builtin pvpanic\ninsmod /m/kernel/a.ko \ninsmod /m/kernel/b.ko x=1\n";
        let expected = ["/m/kernel/a.ko", "/m/kernel/b.ko"].map(PathBuf::from);
        assert_eq!(loaded(commands), expected);
    }
}
