//! Adds KMON's commands to U-Boot's source, as `docs/u-boot.md` describes it.
//!
//! It adds a directory `cmd/kmon/`, one line in `cmd/Makefile`, and one in `cmd/Kconfig`.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

const MAKEFILE_LINE: &str = "obj-$(CONFIG_CMD_KMON) += kmon/";
const KCONFIG_LINE: &str = "source \"cmd/kmon/Kconfig\"";

/// Updates the `source` of U-Boot from this workspace.
pub(super) fn apply(workspace: &Path, source: &Path) -> Result<()> {
    let commands = source.join("cmd");
    let files = files(workspace)?;
    copy_changed(&files, &commands.join("kmon"))?;
    edit(&commands.join("Makefile"), with_makefile_line)?;
    edit(&commands.join("Kconfig"), with_kconfig_line)
}

/// Returns the files for `cmd/kmon/`, without the library.
fn files(workspace: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for directory in ["examples/u-boot", "bindings-c/include"] {
        let directory = workspace.join(directory);
        let entries = fs::read_dir(&directory)
            .with_context(|| format!("cannot list {}", directory.display()))?;
        for entry in entries {
            let path = entry?.path();
            if is_source(&path) {
                files.push(path);
            }
        }
    }
    ensure!(
        files
            .iter()
            .any(|path| path.extension().is_some_and(|end| end == "c")),
        "examples/u-boot has no C file"
    );
    Ok(files)
}

fn is_source(path: &Path) -> bool {
    let named = |name: &str| path.file_name().is_some_and(|file| file == name);
    let ends = |end: &str| path.extension().is_some_and(|extension| extension == end);
    ends("c") || ends("h") || ends("lds") || named("Makefile") || named("Kconfig")
}

/// Makes `directory` hold exactly these files. Leaves equal files unchanged, since make would
/// compile them again.
fn copy_changed(files: &[PathBuf], directory: &Path) -> Result<()> {
    fs::create_dir_all(directory)?;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if !files.iter().any(|file| file.file_name() == Some(&name)) {
            fs::remove_file(entry.path())?;
        }
    }
    for file in files {
        let name = file.file_name().context("a file without a name")?;
        let text = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        write_changed(&directory.join(name), &text)?;
    }
    Ok(())
}

/// Writes `content` unless the file at `path` has it. Returns true if it wrote.
pub(super) fn write_changed(path: &Path, content: &[u8]) -> Result<bool> {
    let present = match fs::read(path) {
        Ok(present) => Some(present),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    if present.as_deref() == Some(content) {
        return Ok(false);
    }
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(true)
}

fn edit(path: &Path, change: fn(&str) -> Option<String>) -> Result<()> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let changed =
        change(&text).with_context(|| format!("{} differs from U-Boot's", path.display()))?;
    write_changed(path, changed.as_bytes())?;
    Ok(())
}

/// Adds the line at the end, after all parts that SPL leaves out.
fn with_makefile_line(text: &str) -> Option<String> {
    if text.lines().any(|line| line == MAKEFILE_LINE) {
        return Some(text.to_owned());
    }
    Some(format!("{}\n{MAKEFILE_LINE}\n", text.trim_end()))
}

/// Adds the line before the end of the menu of commands.
fn with_kconfig_line(text: &str) -> Option<String> {
    if text.lines().any(|line| line == KCONFIG_LINE) {
        return Some(text.to_owned());
    }
    let menu = text.trim_end().strip_suffix("endmenu")?;
    Some(format!("{menu}{KCONFIG_LINE}\n\nendmenu\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_added_once() {
        let makefile = with_makefile_line("obj-y += boot.o\n").unwrap();
        assert_eq!(
            makefile,
            "obj-y += boot.o\nobj-$(CONFIG_CMD_KMON) += kmon/\n"
        );
        assert_eq!(with_makefile_line(&makefile).unwrap(), makefile);

        let kconfig = with_kconfig_line("menu \"Commands\"\nendmenu\n").unwrap();
        assert_eq!(
            kconfig,
            "menu \"Commands\"\nsource \"cmd/kmon/Kconfig\"\n\nendmenu\n"
        );
        assert_eq!(with_kconfig_line(&kconfig).unwrap(), kconfig);
    }

    #[test]
    fn a_menu_without_an_end_is_not_edited() {
        assert_eq!(with_kconfig_line("menu \"Commands\"\n"), None);
    }

    #[test]
    fn an_equal_file_is_not_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.c");
        assert!(write_changed(&path, b"int a;").unwrap());
        assert!(!write_changed(&path, b"int a;").unwrap());
        assert!(write_changed(&path, b"int b;").unwrap());
    }

    #[test]
    fn removed_files_do_not_stay_in_u_boot() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        fs::create_dir_all(&from).unwrap();
        fs::create_dir_all(&to).unwrap();
        fs::write(from.join("new.c"), "new").unwrap();
        fs::write(to.join("old.c"), "old").unwrap();
        copy_changed(&[from.join("new.c")], &to).unwrap();
        assert!(to.join("new.c").exists() && !to.join("old.c").exists());
    }
}
