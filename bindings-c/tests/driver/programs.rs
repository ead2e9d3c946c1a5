//! The C programs of tests/c: each claim is a test, in each build.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock};

use libtest_mimic::Trial;

use crate::artifacts::{hosted, scratch};
use crate::compiler::compiler;
use crate::{arguments, ensure, header, layout, package, read, succeed, trial, Outcome};

/// How a program is compiled.
#[derive(Clone, Copy)]
struct Build {
    name: &'static str,
    compiler: &'static str,
    standard: &'static str,
    flags: &'static [&'static str],
}

const SANITIZERS: &[&str] = &[
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    "-fno-omit-frame-pointer",
];

const PLAIN: Build = Build {
    name: "gcc",
    compiler: "gcc",
    standard: "c99",
    flags: &[],
};

const BUILDS: [Build; 4] = [
    PLAIN,
    Build {
        name: "clang",
        compiler: "clang",
        standard: "c11",
        flags: &["-O2"],
    },
    Build {
        name: "gcc-sanitized",
        compiler: "gcc",
        standard: "c11",
        flags: SANITIZERS,
    },
    Build {
        name: "clang-sanitized",
        compiler: "clang",
        standard: "c99",
        flags: SANITIZERS,
    },
];

/// The programs. The source of `arguments` is generated.
const PROGRAMS: [&str; 9] = [
    "layout",
    "arguments",
    "statuses",
    "channels",
    "rings",
    "regions",
    "waits",
    "locks",
    "litmus",
];

/// The sources that every program is linked with.
const SUPPORT: [&str; 3] = ["check", "fixture", "all"];

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![
        trial(
            "programs::layout_checks_every_control_word",
            layout::nothing_is_missing,
        ),
        trial(
            "programs::statuses_has_a_test_of_every_status",
            every_status_is_tested,
        ),
    ];
    for program in PROGRAMS {
        let claims = claims(&source(program));
        for build in BUILDS {
            for claim in &claims {
                let (name, claim) = (format!("{}::{program}::{claim}", build.name), claim.clone());
                trials.push(trial(&name, move || run(build, program, &claim)));
            }
        }
        let name = format!("valgrind::{program}::is_clean");
        trials.push(trial(&name, move || run_in_valgrind(program)));
    }
    trials
}

/// Returns the source of a program.
fn source(program: &str) -> String {
    match program {
        "arguments" => arguments::as_c(),
        _ => read(&format!("tests/c/{program}.c")),
    }
}

/// Returns the names of the tests in a program.
fn claims(source: &str) -> Vec<String> {
    let tests = source.lines().filter_map(|line| line.strip_prefix("TEST("));
    tests
        .map(|rest| rest.trim_end_matches(')').to_owned())
        .collect()
}

/// Checks that a test's name begins with each status.
fn every_status_is_tested() -> Outcome {
    let claims = claims(&source("statuses"));
    let is_tested = |status: &String| {
        let prefix = format!("{status}_");
        claims.iter().any(|claim| claim.starts_with(&prefix))
    };
    let statuses = header::statuses();
    ensure(statuses.len() >= 41, || {
        format!("only {} statuses", statuses.len())
    })?;
    let missing: Vec<_> = statuses
        .into_iter()
        .filter(|status| !is_tested(status))
        .collect();
    ensure(missing.is_empty(), || missing.join(", "))
}

fn run(build: Build, program: &'static str, claim: &str) -> Outcome {
    let path = built(build, program)?;
    let mut command = limited(60);
    command
        .arg(path)
        .arg(claim)
        .env("UBSAN_OPTIONS", "print_stacktrace=1");
    succeed(&mut command).map(drop)
}

/// Runs all tests of a program in one process, because valgrind starts slowly.
fn run_in_valgrind(program: &'static str) -> Outcome {
    let path = built(PLAIN, program)?;
    let mut command = limited(300);
    command
        .args([
            "valgrind",
            "--quiet",
            "--error-exitcode=1",
            "--leak-check=full",
        ])
        .args([
            "--errors-for-leak-kinds=definite",
            "--child-silent-after-fork=no",
        ])
        .env("SHMR_TEST_OWN_LIVENESS", "1")
        .arg(path);
    let printed = succeed(&mut command)?;
    let ran = printed.matches(" ... ok").count();
    let claims = claims(&source(program)).len();
    ensure(ran == claims, || format!("{ran} of {claims} tests ran"))
}

/// Returns a command with a time limit, to which a program is added.
fn limited(seconds: u32) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", &seconds.to_string()]);
    command
}

/// Returns a program, which is compiled once for each build.
fn built(build: Build, program: &'static str) -> Outcome<PathBuf> {
    type Once = &'static OnceLock<Result<PathBuf, String>>;
    static BUILT: OnceLock<Mutex<HashMap<(&str, &str), Once>>> = OnceLock::new();
    let cell = {
        let mut all = BUILT
            .get_or_init(Mutex::default)
            .lock()
            .expect("nothing panics with it");
        *all.entry((build.name, program))
            .or_insert_with(|| Box::leak(Box::default()))
    };
    let path = cell.get_or_init(|| {
        compile(build, program).map_err(|failed| failed.message().unwrap_or_default().to_owned())
    });
    path.clone().map_err(Into::into)
}

/// Returns the party of a conversation, which is not a program of tests.
pub(crate) fn party(build: &str) -> Outcome<PathBuf> {
    let build = BUILDS.into_iter().find(|known| known.name == build);
    built(build.ok_or("a build of that name")?, "party")
}

fn compile(build: Build, program: &str) -> Outcome<PathBuf> {
    let directory = scratch(build.name);
    std::fs::create_dir_all(&directory)?;
    std::fs::write(directory.join("layout.h"), layout::as_c()?)?;
    let file = directory.join(format!("{program}.c"));
    std::fs::write(&file, source(program))?;
    let path = directory.join(program);
    let mut compiler = compiler(build.compiler, build.standard);
    compiler
        .args([
            "-g",
            "-D_GNU_SOURCE",
            "-Wno-missing-field-initializers",
            "-I",
        ])
        .arg(&directory)
        .arg("-I")
        .arg(sources())
        .args(build.flags)
        .arg(&file);
    if program != "party" {
        compiler.args(SUPPORT.map(|name| sources().join(format!("{name}.c"))));
    }
    link(&mut compiler, &path)?;
    Ok(path)
}

/// Links with the static library.
pub(crate) fn link(compiler: &mut Command, path: &Path) -> Outcome {
    let library = hosted()?;
    compiler
        .arg(&library.path)
        .args(&library.system)
        .arg("-o")
        .arg(path);
    succeed(compiler).map(drop)
}

pub(crate) fn sources() -> PathBuf {
    package().join("tests/c")
}
