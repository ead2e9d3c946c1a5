//! `cargo xtask guest-image`: a Linux guest with the guest daemon in it, for QEMU.

pub(crate) mod config;
mod daemon;
mod initramfs;
mod kernel;
mod modules;

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde_json::json;

use crate::console::Console;
use crate::job::Reporter;
use crate::process;
use crate::test::setup;
use crate::workspace::Workspace;

/// Build a kernel and an initramfs for guests of KMON under QEMU.
///
/// Installs QEMU and busybox, fetches Debian's kernel for cloud machines once, builds the
/// guest daemon as a static program, and packs it with `examples/qemu/image`. All of it is
/// below `target/guest`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Fetch the kernel again: the newest that apt knows
    #[arg(long)]
    force: bool,
    /// Fail, naming the command, where something would have to be installed
    #[arg(long)]
    no_install: bool,
    /// Print one JSON document to standard output, everything else to standard
    /// error
    #[arg(long)]
    json: bool,
}

/// Debian packages that the image is made with and run by, each with its reason.
const PACKAGES: &[(&str, &str)] = &[
    ("busybox-static", "the guest's shell and tools"),
    ("kmod", "tells which modules the guest needs, in order"),
    ("libc6-dev", "the guest daemon is linked with it"),
    ("qemu-system-x86", "runs the guests"),
];

/// What guests are made of.
pub(crate) struct Image {
    pub(crate) kernel: PathBuf,
    pub(crate) initrd: PathBuf,
    /// The kernel's release.
    release: String,
    /// The directory that has `lib/modules`.
    modules: PathBuf,
    /// The guest daemon, static.
    daemon: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    process::catch_interrupts()?;
    let console = Console {
        to_stderr: arguments.json,
    };
    let workspace = Workspace::find()?;
    let image = build(&workspace, arguments.force, !arguments.no_install, console);
    if process::interrupted() {
        eprintln!("interrupted");
        return Ok(ExitCode::from(130));
    }
    print(&image?, arguments.json);
    Ok(ExitCode::SUCCESS)
}

/// Builds what is not there yet.
pub(crate) fn build(
    workspace: &Workspace,
    force: bool,
    may_install: bool,
    console: Console,
) -> Result<Image> {
    let home = workspace.target.join("guest");
    fs::create_dir_all(&home).with_context(|| format!("cannot make {}", home.display()))?;
    setup::require(PACKAGES, may_install)?;
    let reporter = Reporter::new(console, "guest", home.join("image.log"))?;
    if force {
        remove(&home.join(kernel::DIRECTORY))?;
    }
    let kernel = kernel::unpacked(&home, may_install, &reporter)?;
    let daemon = daemon::build(&home.join("cargo"), &reporter)?;
    let modules = modules::in_order(&kernel)?;
    let tree = initramfs::Parts {
        files: &workspace.root.join("examples/qemu/image"),
        daemon: &daemon,
        modules: &modules,
        kernel: &kernel,
    };
    let initrd = home.join("initramfs.cpio");
    initramfs::pack(&tree, &initrd)?;
    Ok(Image {
        kernel: kernel.image(),
        initrd,
        release: kernel.release,
        modules: kernel.root,
        daemon,
    })
}

/// The same, with the guest's half of the measurements.
pub(crate) fn build_for_bench(workspace: &Workspace, console: Console) -> Result<()> {
    build(workspace, false, true, console)?;
    let home = workspace.target.join("guest");
    let reporter = Reporter::new(console, "guest", home.join("bench.log"))?;
    let kernel = kernel::unpacked(&home, true, &reporter)?;
    let echo = daemon::build_echo(&home.join("cargo"), &reporter)?;
    let modules = modules::for_bench(&kernel)?;
    initramfs::pack_for_bench(&echo, &modules, &kernel, &home.join("bench.cpio"))
}

fn print(image: &Image, json: bool) {
    let shown = |path: &PathBuf| path.display().to_string();
    let parts = [
        ("kernel", shown(&image.kernel)),
        ("initrd", shown(&image.initrd)),
        ("guestd", shown(&image.daemon)),
        ("modules", shown(&image.modules)),
        ("release", image.release.clone()),
    ];
    let console = Console { to_stderr: false };
    if json {
        let document = parts.map(|(name, value)| (name.to_owned(), json!(value)));
        let document = serde_json::Map::from_iter(document);
        console.line(&serde_json::Value::from(document).to_string());
        return;
    }
    for (name, value) in parts {
        console.line(&format!("{name:<8}  {value}"));
    }
}

fn remove(directory: &std::path::Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", directory.display()))
        }
        _ => Ok(()),
    }
}
