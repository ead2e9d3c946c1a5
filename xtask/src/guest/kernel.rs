//! Debian's kernel for cloud machines, fetched and unpacked once.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::debian;
use crate::invocation::Invocation;
use crate::job::Reporter;

/// The package that depends on the newest kernel.
const NEWEST: &str = "linux-image-cloud-amd64";
/// Below the guests' directory.
const DIRECTORY: &str = "kernel";

/// An unpacked kernel package.
pub(super) struct Kernel {
    pub(super) root: PathBuf,
    pub(super) release: String,
}

impl Kernel {
    /// A name that does not change with the release.
    pub(super) fn image(&self) -> PathBuf {
        self.root.join("vmlinuz")
    }

    fn of(root: PathBuf) -> Result<Self> {
        let modules = root.join("lib/modules");
        let mut entries =
            fs::read_dir(&modules).with_context(|| format!("cannot list {}", modules.display()))?;
        let release = entries.next().context("the kernel has no modules")??;
        let release = release.file_name().to_string_lossy().into_owned();
        let kernel = Self { root, release };
        let image = kernel
            .root
            .join("boot")
            .join(format!("vmlinuz-{}", kernel.release));
        ensure!(image.exists(), "there is no {}", image.display());
        Ok(kernel)
    }

    fn index(&self, reporter: &Reporter) -> Result<()> {
        symlink(format!("boot/vmlinuz-{}", self.release), self.image())?;
        let index = Invocation::parse("/sbin/depmod --basedir")
            .path(&self.root)
            .arg(&self.release);
        reporter.run("indexing its modules", &index, None)
    }
}

/// The kernel below `home`, which is fetched if it is not there. apt verifies what it fetches.
pub(super) fn unpacked(home: &Path, may_install: bool, reporter: &Reporter) -> Result<Kernel> {
    let root = home.join(DIRECTORY);
    if root.exists() {
        return Kernel::of(root);
    }
    let package = newest(may_install, reporter)?;
    let downloads = home.join("download");
    remove_directory(&downloads)?;
    fs::create_dir_all(&downloads)?;
    let fetch = Invocation::parse("apt-get download").arg(&package);
    reporter.run(&format!("fetching {package}"), &fetch, Some(&downloads))?;
    // Whole or not at all: an interrupted run leaves it under another name.
    let partial = home.join("kernel.partial");
    remove_directory(&partial)?;
    let unpack = Invocation::parse("dpkg-deb --extract")
        .path(&only_file(&downloads)?)
        .path(&partial);
    reporter.run("unpacking it", &unpack, None)?;
    Kernel::of(partial.clone())?.index(reporter)?;
    fs::rename(&partial, &root)?;
    remove_directory(&downloads)?;
    Kernel::of(root)
}

/// The package of the newest kernel.
fn newest(may_install: bool, reporter: &Reporter) -> Result<String> {
    if let Some(package) = known()? {
        return Ok(package);
    }
    ensure!(
        may_install,
        "apt does not know {NEWEST}; run as root: apt-get update"
    );
    let update = debian::as_root("apt-get update")?;
    reporter.run("bringing apt's lists up to date", &update, None)?;
    known()?.with_context(|| format!("apt still does not know {NEWEST}"))
}

fn known() -> Result<Option<String>> {
    let shown = Command::new("apt-cache")
        .args(["show", "--no-all-versions", NEWEST])
        .output();
    match shown {
        Ok(shown) => Ok(dependency(&String::from_utf8_lossy(&shown.stdout))),
        Err(error) => bail!("guests get their kernel from Debian's archive: apt-cache: {error}"),
    }
}

/// The kernel's package among the fields of the one that depends on it.
fn dependency(fields: &str) -> Option<String> {
    let depends = fields
        .lines()
        .find_map(|line| line.strip_prefix("Depends:"))?;
    let mut names = depends
        .split(',')
        .filter_map(|name| name.split_whitespace().next());
    let kernel = names.find(|name| name.starts_with("linux-image-"))?;
    Some(kernel.to_owned())
}

fn only_file(directory: &Path) -> Result<PathBuf> {
    let entry = fs::read_dir(directory)?.next();
    Ok(entry.context("apt has fetched nothing")??.path())
}

/// Forgets the kernel below `home`, so that it is fetched again.
pub(super) fn remove(home: &Path) -> Result<()> {
    remove_directory(&home.join(DIRECTORY))
}

fn remove_directory(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", directory.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_what_the_package_depends_on() {
        let fields = "Package: linux-image-cloud-amd64\nPre-Depends: nothing\n\
                      Depends: linux-image-6.1.0-1-cloud-amd64 (= 6.1.2-1), other\n";
        let expected = "linux-image-6.1.0-1-cloud-amd64";
        assert_eq!(dependency(fields).as_deref(), Some(expected));
        assert_eq!(dependency("N: Unable to locate package\n"), None);
    }
}
