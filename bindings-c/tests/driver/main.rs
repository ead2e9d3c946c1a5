//! Tests of the C interface in C: each claim of each C program is a test, in each build.
//!
//! | module         | one purpose                                                |
//! |----------------|------------------------------------------------------------|
//! | `artifacts`    | the library, built once                                    |
//! | `compiler`     | C and C++ compilers                                        |
//! | `header`       | the declarations of include/shmr.h                         |
//! | `layout`       | the tables of docs/layout.md, as C                         |
//! | `arguments`    | a C program that passes invalid arguments to every call    |
//! | `programs`     | the programs of tests/c, their builds and their tests      |
//! | `conversation` | a C and a Rust process that are killed at random moments   |
//! | `bare`         | the library for bootloaders                                |
//! | `installed`    | the files of `cargo xtask install`                         |
//! | `page`         | docs/c-api.md                                              |

mod arguments;
mod artifacts;
mod bare;
mod compiler;
mod conversation;
mod header;
mod installed;
mod layout;
mod page;
mod programs;

use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Failed, Trial};

/// A test's outcome.
type Outcome<T = ()> = Result<T, Failed>;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    if words.next().as_deref() == Some(conversation::PARTY) {
        conversation::party(words);
        return ExitCode::SUCCESS;
    }
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    trials.extend(compiler::trials());
    trials.extend(header::trials());
    trials.extend(programs::trials());
    trials.extend(conversation::trials());
    trials.extend(bare::trials());
    trials.extend(installed::trials());
    trials.extend(page::trials());
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(name: &str, test: impl FnOnce() -> Outcome + Send + 'static) -> Trial {
    Trial::test(name, test)
}

/// Returns the package's directory.
fn package() -> &'static std::path::Path {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Reads a file, by its path from the package's directory.
fn read(path: &str) -> String {
    let whole = package().join(path);
    std::fs::read_to_string(&whole).unwrap_or_else(|error| panic!("{}: {error}", whole.display()))
}

/// Runs a command and returns its output; if it failed, the output is the error.
fn succeed(command: &mut Command) -> Outcome<String> {
    let output = command
        .output()
        .map_err(|error| format!("cannot run {command:?}: {error}"))?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(printed);
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(format!("{command:?}: {}\n{printed}{complaint}", output.status).into())
}

fn ensure(holds: bool, why: impl FnOnce() -> String) -> Outcome {
    if holds {
        return Ok(());
    }
    Err(why().into())
}
