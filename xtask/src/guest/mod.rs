//! `cargo xtask guest-image`: builds a Linux guest for QEMU that runs the guest daemon.

pub(crate) mod config;
pub(crate) mod daemon;
mod initramfs;
mod kernel;
mod modules;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde_json::json;

use crate::console::Console;
use crate::debian::{self, Package};
use crate::interrupt;
use crate::job::Reporter;
use crate::workspace::Workspace;
use kernel::Kernel;

/// Build a kernel and an initramfs for guests of KMON under QEMU
///
/// Installs QEMU and busybox, fetches Debian's kernel for cloud machines once, and builds the
/// guest daemon and `shmem-contend` as static programs. Packs these programs with the files of
/// `examples/qemu/image`. The results are in `target/guest`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Fetch the newest kernel that apt knows again
    #[arg(long)]
    force: bool,
    /// Install nothing; fail with the necessary command instead
    #[arg(long)]
    no_install: bool,
    /// Print one JSON document to standard output, all else to standard error
    #[arg(long)]
    json: bool,
}

/// Debian packages that build and run the image, each with its reason.
pub(crate) const PACKAGES: &[Package] = &[
    ("busybox-static", "the guest's shell and tools"),
    ("kmod", "lists the modules that the guest needs, in order"),
    ("libc6-dev", "the guest daemon is linked with it"),
    ("qemu-system-x86", "runs the guests"),
];

/// The files of a guest.
pub(crate) struct Image {
    pub(crate) kernel: PathBuf,
    pub(crate) initrd: PathBuf,
    /// The kernel's release.
    release: String,
    /// The directory that contains `lib/modules`.
    modules: PathBuf,
    /// The guest daemon, linked statically.
    daemon: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    interrupt::catch()?;
    let console = Console {
        to_stderr: arguments.json,
    };
    let workspace = Workspace::find()?;
    let base = Base::prepare(&workspace, arguments.force, !arguments.no_install, console);
    let image = base.and_then(|base| base.build());
    if interrupt::interrupted() {
        eprintln!("interrupted");
        return Ok(ExitCode::from(130));
    }
    print(&image?, arguments.json);
    Ok(ExitCode::SUCCESS)
}

/// The common parts of all images; the daemon is not one of them.
pub(crate) struct Base {
    /// The directory of the results.
    home: PathBuf,
    /// The directory of the files that are copied into a guest.
    files: PathBuf,
    kernel: Kernel,
    reporter: Reporter,
}

impl Base {
    /// Installs and fetches what is missing; with `force`, fetches the kernel again.
    pub(crate) fn prepare(
        workspace: &Workspace,
        force: bool,
        may_install: bool,
        console: Console,
    ) -> Result<Self> {
        let home = workspace.target.join("guest");
        fs::create_dir_all(&home).with_context(|| format!("cannot make {}", home.display()))?;
        debian::require(PACKAGES, may_install)?;
        let reporter = Reporter::new(console, "guest", home.join("image.log"))?;
        if force {
            kernel::remove(&home)?;
        }
        Ok(Self {
            kernel: kernel::unpacked(&home, may_install, &reporter)?,
            files: workspace.root.join("examples/qemu/image"),
            home,
            reporter,
        })
    }

    /// Packs `daemon` and `tools` into an image with the file name `name`.
    pub(crate) fn image(&self, name: &str, daemon: &Path, tools: &[PathBuf]) -> Result<Image> {
        let parts = initramfs::Parts {
            files: &self.files,
            daemon,
            tools,
            modules: &modules::in_order(&self.kernel)?,
            kernel: &self.kernel,
        };
        let initrd = self.home.join(name);
        initramfs::pack(&parts, &initrd)?;
        Ok(Image {
            kernel: self.kernel.image(),
            initrd,
            release: self.kernel.release.clone(),
            modules: self.kernel.root.clone(),
            daemon: daemon.to_owned(),
        })
    }

    /// Builds a daemon and a tool, and an image with both.
    fn build(&self) -> Result<Image> {
        let directory = self.home.join("cargo");
        let daemon = daemon::build(&directory, &self.reporter)?;
        let contend = daemon::build_contend(&directory, &self.reporter)?;
        self.image("initramfs.cpio", &daemon, &[contend])
    }
}

/// Builds the image, and the archive that the measurements unpack over it.
pub(crate) fn build_for_bench(workspace: &Workspace, console: Console) -> Result<()> {
    let base = Base::prepare(workspace, false, true, console)?;
    base.build()?;
    let echo = daemon::build_echo(&base.home.join("cargo"), &base.reporter)?;
    let modules = modules::for_bench(&base.kernel)?;
    let archive = base.home.join("bench.cpio");
    initramfs::pack_for_bench(&echo, &modules, &base.kernel, &archive)
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
