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
/// The kernel's directory, below that of the guests.
const DIRECTORY: &str = "kernel";

/// An unpacked kernel package.
pub(super) struct Kernel {
    pub(super) root: PathBuf,
    pub(super) release: String,
}

impl Kernel {
    /// The kernel's image, under a name that does not contain the release.
    pub(super) fn image(&self) -> PathBuf {
        self.root.join("vmlinuz")
    }

    fn from_directory(root: PathBuf) -> Result<Self> {
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
        ensure!(image.exists(), "{} does not exist", image.display());
        Ok(kernel)
    }

    fn index(&self, reporter: &Reporter) -> Result<()> {
        symlink(format!("boot/vmlinuz-{}", self.release), self.image())?;
        let index = Invocation::parse("/sbin/depmod --basedir")
            .path(&self.root)
            .arg(&self.release);
        reporter.run("indexing the kernel's modules", &index, None)
    }
}

/// Returns the kernel below `home`; fetches it if necessary. apt verifies what it fetches.
pub(super) fn unpacked(home: &Path, may_install: bool, reporter: &Reporter) -> Result<Kernel> {
    let root = home.join(DIRECTORY);
    if root.exists() {
        return Kernel::from_directory(root);
    }
    let package = newest(may_install, reporter)?;
    let downloads = home.join("download");
    remove_directory(&downloads)?;
    fs::create_dir_all(&downloads)?;
    let fetch = Invocation::parse("apt-get download").arg(&package);
    reporter.run(&format!("fetching {package}"), &fetch, Some(&downloads))?;
    // An interrupted run leaves an incomplete kernel under this name only.
    let partial = home.join("kernel.partial");
    remove_directory(&partial)?;
    let unpack = Invocation::parse("dpkg-deb --extract")
        .path(&only_file(&downloads)?)
        .path(&partial);
    reporter.run("unpacking the kernel", &unpack, None)?;
    Kernel::from_directory(partial.clone())?.index(reporter)?;
    fs::rename(&partial, &root)?;
    remove_directory(&downloads)?;
    Kernel::from_directory(root)
}

/// Returns the package of the newest kernel.
fn newest(may_install: bool, reporter: &Reporter) -> Result<String> {
    if let Some(package) = newest_in_lists()? {
        return Ok(package);
    }
    ensure!(
        may_install,
        "apt does not know {NEWEST}; run as root: apt-get update"
    );
    let update = debian::as_root("apt-get update")?;
    reporter.run("updating apt's lists", &update, None)?;
    newest_in_lists()?.with_context(|| format!("apt still does not know {NEWEST}"))
}

fn newest_in_lists() -> Result<Option<String>> {
    let shown = Command::new("apt-cache")
        .args(["show", "--no-all-versions", NEWEST])
        .output();
    match shown {
        Ok(shown) => Ok(dependency(&String::from_utf8_lossy(&shown.stdout))),
        Err(error) => bail!("guests need a kernel from Debian's archive: apt-cache: {error}"),
    }
}

/// Finds the kernel's package in the fields of the package that depends on it.
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

/// Removes the kernel below `home`, so that it is fetched again.
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
    fn the_kernel_is_a_dependency_of_the_package() {
        let fields = "Package: linux-image-cloud-amd64\nPre-Depends: nothing\n\
                      Depends: linux-image-6.1.0-1-cloud-amd64 (= 6.1.2-1), other\n";
        let expected = "linux-image-6.1.0-1-cloud-amd64";
        assert_eq!(dependency(fields).as_deref(), Some(expected));
        assert_eq!(dependency("N: Unable to locate package\n"), None);
    }
}
