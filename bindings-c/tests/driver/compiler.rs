//! C and C++ compilers, and the header in each of their languages.

use std::process::Command;

use libtest_mimic::Trial;

use crate::artifacts::scratch;
use crate::{package, succeed, trial, Outcome};

/// The warnings, all of them errors.
pub(crate) const WARNINGS: [&str; 6] = [
    "-Wall",
    "-Wextra",
    "-Wpedantic",
    "-Wshadow",
    "-Wconversion",
    "-Werror",
];

/// Returns a compiler command with the include path and the warnings.
pub(crate) fn compiler(name: &str, standard: &str) -> Command {
    let mut compiler = Command::new(name);
    compiler
        .arg(format!("-std={standard}"))
        .args(WARNINGS)
        .arg("-I")
        .arg(package().join("include"));
    compiler
}

const LANGUAGES: [(&str, &str); 6] = [
    ("gcc", "c99"),
    ("gcc", "c11"),
    ("clang", "c99"),
    ("clang", "c11"),
    ("g++", "c++11"),
    ("clang++", "c++11"),
];

/// The header with and without Linux.
const VARIANTS: [(&str, &[&str]); 2] =
    [("linux", &[]), ("bare", &["-DSHMR_BARE", "-ffreestanding"])];

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for (name, standard) in LANGUAGES {
        for (variant, flags) in VARIANTS {
            let title = format!("header::compiles::{name}::{standard}::{variant}");
            trials.push(trial(&title, move || header(name, standard, flags)));
        }
    }
    trials
}

/// Compiles a file that includes the header twice, before anything else, and uses it.
fn header(name: &str, standard: &str, flags: &[&str]) -> Outcome {
    let extension = if name.ends_with("++") { "cpp" } else { "c" };
    let source = scratch(&format!(
        "header/{name}-{standard}-{}.{extension}",
        flags.len()
    ));
    let text = "#include \"shmr.h\"\n#include \"shmr.h\"\n\
        struct shmr_region region;\n\
        int main(void) { return shmr_header_matches() ? 0 : 1; }\n";
    std::fs::write(&source, text)?;
    let mut compiler = compiler(name, standard);
    compiler.args(flags).arg("-fsyntax-only").arg(&source);
    succeed(&mut compiler).map(drop)
}
