//! Builds U-Boot for one board, without and with KMON's commands.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::overlay::write_changed;
use super::size::Size;
use super::target::Target;
use crate::invocation::Invocation;
use crate::job::Reporter;

/// The lines that a vendor adds to a board's configuration.
const FRAGMENT: &str = "examples/u-boot/kmon.config";
const WITH_KMON: &str = "CONFIG_CMD_KMON=y";
const WITHOUT_KMON: &str = "# CONFIG_CMD_KMON is not set";
/// Holds the configuration for which the build directory was last configured.
const SEED: &str = "kmon.seed";

/// One board's build directory.
pub(super) struct Build<'a> {
    pub(super) target: &'static Target,
    pub(super) workspace: &'a Path,
    pub(super) source: &'a Path,
    /// The library's archive for this board.
    pub(super) archive: &'a Path,
    pub(super) directory: &'a Path,
    pub(super) reporter: &'a Reporter,
}

impl Build<'_> {
    /// Returns the size without KMON. One build is enough, since only KMON's own parts change.
    pub(super) fn without_kmon(&self) -> Result<Size> {
        let cache = self.directory.join("without-kmon.json");
        let seed = self.seed(WITHOUT_KMON)?;
        if let Some(size) = cached(&cache, &seed) {
            return Ok(size);
        }
        self.configure(&seed)?;
        self.make("building U-Boot without KMON", self.target.goals)?;
        let size = self.size()?;
        let Size { code, flash } = size;
        let document = json!({ "seed": seed, "code": code, "flash": flash });
        fs::write(&cache, document.to_string())?;
        Ok(size)
    }

    pub(super) fn with_kmon(&self) -> Result<Size> {
        self.configure(&self.seed(WITH_KMON)?)?;
        let config = fs::read_to_string(self.directory.join(".config"))?;
        ensure!(
            config.lines().any(|line| line == WITH_KMON),
            "this configuration excludes CMD_KMON; see {}",
            self.directory.join(".config").display()
        );
        self.make("building U-Boot with KMON", self.target.goals)?;
        self.size()
    }

    fn size(&self) -> Result<Size> {
        Size::measure(self.target.cross, &self.directory.join("u-boot"))
    }

    /// Returns the file to run, padded if QEMU needs a whole flash memory.
    pub(super) fn image(&self) -> Result<PathBuf> {
        let path = self.directory.join(self.target.image);
        if let Some(len) = self.target.flash_len {
            let mut image = fs::read(self.directory.join("u-boot.bin"))?;
            ensure!(
                image.len() as u64 <= len,
                "U-Boot's {} bytes do not fit a flash memory of {len}",
                image.len()
            );
            image.resize(usize::try_from(len)?, 0);
            write_changed(&path, &image)?;
        }
        Ok(path)
    }

    /// Returns the initial configuration: the board's, then KMON's, then `choice`.
    fn seed(&self, choice: &str) -> Result<String> {
        let read = |path: PathBuf| {
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let board = format!("configs/{}_defconfig", self.target.name);
        let board = read(self.source.join(board))?;
        let kmon = read(self.workspace.join(FRAGMENT))?;
        Ok(format!("{board}{kmon}{choice}\n"))
    }

    /// Configures the build, unless it already has this configuration: make would check every file.
    fn configure(&self, seed: &str) -> Result<()> {
        let mark = self.directory.join(SEED);
        let config = self.directory.join(".config");
        if config.exists() && fs::read_to_string(&mark).is_ok_and(|present| present == seed) {
            return Ok(());
        }
        remove(&mark)?;
        fs::write(&config, seed)?;
        self.make("configuring U-Boot", &["olddefconfig"])?;
        fs::write(&mark, seed)?;
        Ok(())
    }

    fn make(&self, what: &str, goals: &[&str]) -> Result<()> {
        let jobs = thread::available_parallelism().map_or(1, usize::from);
        let mut make = Invocation::parse("make --no-print-directory -C")
            .path(self.source)
            .arg(format!("-j{jobs}"))
            .arg(format!("O={}", self.directory.display()))
            .arg(format!("CROSS_COMPILE={}", self.target.cross))
            .arg(format!("SHMR_LIB={}", self.archive.display()))
            // Otherwise each build has another date, and is linked again.
            .set("SOURCE_DATE_EPOCH", self.source_date()?);
        for word in self.target.variables.iter().chain(goals) {
            make = make.arg(*word);
        }
        self.reporter.run(what, &make, None)
    }

    /// Returns the release time of the source in seconds, which U-Boot prints as its date.
    fn source_date(&self) -> Result<String> {
        let output = Invocation::parse("dpkg-parsechangelog --show-field Timestamp --file")
            .path(&self.source.join("debian/changelog"))
            .command()
            .output()
            .context("cannot run dpkg-parsechangelog")?;
        ensure!(
            output.status.success(),
            "the source has no Debian changelog"
        );
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

/// Returns the size that an earlier run measured with this configuration.
fn cached(path: &Path, seed: &str) -> Option<Size> {
    let document: Value = serde_json::from_str(&fs::read_to_string(path).ok()?).ok()?;
    if document["seed"] != seed {
        return None;
    }
    Some(Size {
        code: document["code"].as_u64()?,
        flash: document["flash"].as_u64()?,
    })
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
