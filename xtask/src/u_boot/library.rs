//! Builds `libshmr.a` for one target without an operating system.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::target::{Library, Target};
use crate::invocation::Invocation;
use crate::job::Reporter;

const FILE: &str = "libshmr.a";
/// The cargo profile: optimised for size, without unwinding.
const PROFILE: &str = "bare";

/// Builds the archive below `directory`. Returns its path.
pub(super) fn build(target: &Target, directory: &Path, reporter: &Reporter) -> Result<PathBuf> {
    let build = Invocation::parse(
        "cargo rustc --package shmr --lib --crate-type staticlib --no-default-features \
         --features small",
    )
    .arg("--profile")
    .arg(PROFILE)
    .arg("--target-dir")
    .path(directory);
    let (build, flags) = match target.built_for {
        Library::Host => (build, ""),
        Library::FromSource { triple, flags } => {
            let build = build.arg("-Zbuild-std=core").arg("--target").arg(triple);
            // Debian's source of `core` needs Debian's compiler.
            let build = build.set("RUSTC", "/usr/bin/rustc");
            (build.set("RUSTC_BOOTSTRAP", "1"), flags)
        }
    };
    // The caller's flags are meant for the caller's machine.
    reporter.run("building libshmr.a", &build.set("RUSTFLAGS", flags), None)?;
    let output = match target.built_for {
        Library::Host => directory.to_owned(),
        Library::FromSource { triple, .. } => directory.join(triple),
    };
    let archive = output.join(PROFILE).join(FILE);
    check_registers(target, &archive)?;
    Ok(archive)
}

/// Returns an error if the code in `archive` uses a register that U-Boot reserves.
fn check_registers(target: &Target, archive: &Path) -> Result<()> {
    if target.reserved.is_empty() {
        return Ok(());
    }
    let tool = format!("{}objdump", target.cross);
    let output = Command::new(&tool)
        .args(["--disassemble", "--no-addresses", "--no-show-raw-insn"])
        .arg(archive)
        .output()
        .with_context(|| format!("cannot run {tool}"))?;
    let code = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success() && code.lines().count() > 1000,
        "{tool} cannot read {}",
        archive.display()
    );
    match code.lines().find(|line| uses(line, target.reserved)) {
        None => Ok(()),
        Some(line) => bail!(
            "the library uses a register that U-Boot reserves: {}",
            line.trim()
        ),
    }
}

/// Returns true if a line of assembly names one of these registers.
fn uses(line: &str, registers: &[&str]) -> bool {
    let mut words = line.split(|c: char| !c.is_ascii_alphanumeric());
    // Symbols are in angle brackets; a short one could look like a register.
    !line.contains('<') && words.any(|word| registers.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_register_is_found_among_the_operands() {
        let reserved = ["x18", "w18"];
        assert!(uses("\tldr\tx18, [sp, #16]", &reserved));
        assert!(uses("\tadd\tx0, x1, w18, uxtw", &reserved));
        assert!(!uses("\tldr\tx1, [x8, #18]", &reserved));
        assert!(!uses("\tbl\t<x18>", &reserved));
    }
}
