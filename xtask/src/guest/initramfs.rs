//! The guest's first file system: an archive that its kernel unpacks.
//!
//! It is not compressed, since unpacking costs a guest more than reading does.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use cpio::newc::{Builder, ModeFileType, trailer};

use super::kernel::Kernel;
use super::modules::Modules;

/// The contents of the archive.
pub(super) struct Parts<'a> {
    /// The directory with `init`.
    pub(super) files: &'a Path,
    pub(super) daemon: &'a Path,
    /// Other programs, which keep their names.
    pub(super) tools: &'a [PathBuf],
    pub(super) modules: &'a Modules,
    pub(super) kernel: &'a Kernel,
}

/// Directories for mounts and for files that the guest writes.
const DIRECTORIES: &[&str] = &["dev", "etc", "proc", "root", "run", "sys", "tmp", "var"];
const BUSYBOX: &str = "/bin/busybox";
/// Lists the modules' paths, one a line. Those for interrupts follow a line `# doorbell`.
const MODULES: &str = "etc/modules.load";
/// Lists the modules that the measurements load.
const BENCH_MODULES: &str = "etc/bench.load";

/// Writes the archive.
pub(super) fn pack(parts: &Parts<'_>, to: &Path) -> Result<()> {
    write(to, |archive| fill(archive, parts))
}

/// Writes an archive for the measurements, which is unpacked over the first one.
pub(super) fn pack_for_bench(
    echo: &Path,
    modules: &[PathBuf],
    kernel: &Kernel,
    to: &Path,
) -> Result<()> {
    write(to, |archive| {
        archive.program("usr/bin/guest-echo", echo)?;
        let listed = archive.modules(&kernel.root, modules)?;
        archive.file(BENCH_MODULES, listed.as_bytes(), 0o644)
    })
}

/// Writes a complete archive, or none.
fn write(to: &Path, fill: impl FnOnce(&mut Archive<BufWriter<File>>) -> Result<()>) -> Result<()> {
    let partial = to.with_extension("partial");
    let file =
        File::create(&partial).with_context(|| format!("cannot write {}", partial.display()))?;
    let mut archive = Archive::new(BufWriter::new(file));
    fill(&mut archive)?;
    archive.end()?;
    fs::rename(&partial, to)?;
    Ok(())
}

fn fill(archive: &mut Archive<impl Write>, parts: &Parts<'_>) -> Result<()> {
    for name in DIRECTORIES {
        archive.directory(name)?;
    }
    archive.program("init", &parts.files.join("init"))?;
    archive.program("bin/busybox", Path::new(BUSYBOX))?;
    for applet in applets()? {
        if applet != "busybox" {
            archive.link(&format!("bin/{applet}"), "busybox")?;
        }
    }
    archive.program("usr/bin/guestd", parts.daemon)?;
    for tool in parts.tools {
        let name = tool.file_name().and_then(|name| name.to_str());
        let name = name.context("a program's name is not text")?;
        archive.program(&format!("usr/bin/{name}"), tool)?;
    }
    let (always, doorbell) = (&parts.modules.always, &parts.modules.doorbell);
    let mut listed = archive.modules(&parts.kernel.root, always)?;
    listed += "# doorbell\n";
    listed += &archive.modules(&parts.kernel.root, doorbell)?;
    archive.file(MODULES, listed.as_bytes(), 0o644)
}

/// Returns the names of busybox's programs.
fn applets() -> Result<Vec<String>> {
    let listed = Command::new(BUSYBOX)
        .arg("--list")
        .output()
        .with_context(|| format!("cannot run {BUSYBOX}"))?;
    ensure!(
        listed.status.success(),
        "{BUSYBOX} does not list its programs"
    );
    let names = String::from_utf8_lossy(&listed.stdout);
    Ok(names.lines().map(str::to_owned).collect())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// An archive whose entries all belong to root.
struct Archive<W: Write> {
    to: W,
    /// Directories that the archive has.
    made: BTreeSet<PathBuf>,
    entries: u32,
}

impl<W: Write> Archive<W> {
    fn new(to: W) -> Self {
        Self {
            to,
            made: BTreeSet::new(),
            entries: 0,
        }
    }

    fn program(&mut self, name: &str, path: &Path) -> Result<()> {
        self.file(name, &read(path)?, 0o755)
    }

    /// Adds modules that are below `root`. Returns their paths, one a line.
    fn modules(&mut self, root: &Path, modules: &[PathBuf]) -> Result<String> {
        let mut listed = String::new();
        for module in modules {
            let inside = module.strip_prefix(root)?;
            let inside = inside.to_str().context("a module's path is not text")?;
            self.file(inside, &read(module)?, 0o644)?;
            listed += &format!("/{inside}\n");
        }
        Ok(listed)
    }

    fn file(&mut self, name: &str, bytes: &[u8], mode: u32) -> Result<()> {
        self.parent_directories(name)?;
        self.entry(name, ModeFileType::Regular, mode, bytes)
    }

    fn link(&mut self, name: &str, target: &str) -> Result<()> {
        self.parent_directories(name)?;
        self.entry(name, ModeFileType::Symlink, 0o777, target.as_bytes())
    }

    fn directory(&mut self, name: &str) -> Result<()> {
        self.parent_directories(name)?;
        if self.made.insert(name.into()) {
            self.entry(name, ModeFileType::Directory, 0o755, &[])?;
        }
        Ok(())
    }

    fn parent_directories(&mut self, name: &str) -> Result<()> {
        match name.rsplit_once('/') {
            Some((directory, _)) => self.directory(directory),
            None => Ok(()),
        }
    }

    fn entry(&mut self, name: &str, kind: ModeFileType, mode: u32, bytes: &[u8]) -> Result<()> {
        self.entries += 1;
        let len = u32::try_from(bytes.len()).context("a file is too large")?;
        let links = if matches!(kind, ModeFileType::Directory) {
            2
        } else {
            1
        };
        let mut writer = Builder::new(name)
            .ino(self.entries)
            .nlink(links)
            .mode(mode)
            .set_mode_file_type(kind)
            .write(&mut self.to, len);
        writer.write_all(bytes)?;
        writer.finish()?;
        Ok(())
    }

    fn end(mut self) -> Result<()> {
        trailer(&mut self.to)?.flush()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cpio::newc::Reader;

    #[test]
    fn a_directory_comes_once_and_before_its_contents() {
        let mut bytes = Vec::new();
        let mut archive = Archive::new(&mut bytes);
        archive.file("usr/bin/guestd", b"program", 0o755).unwrap();
        archive.link("usr/bin/sh", "busybox").unwrap();
        archive.end().unwrap();
        let mut names = Vec::new();
        let mut rest: &[u8] = &bytes;
        loop {
            let reader = Reader::new(rest).unwrap();
            if reader.entry().is_trailer() {
                break;
            }
            names.push(reader.entry().name().to_owned());
            rest = reader.finish().unwrap();
        }
        assert_eq!(names, ["usr", "usr/bin", "usr/bin/guestd", "usr/bin/sh"]);
    }
}
