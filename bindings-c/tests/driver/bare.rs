//! Tests of the library for bootloaders: it needs few symbols, and works without a C library.

use std::path::Path;
use std::process::Command;

use libtest_mimic::Trial;

use crate::artifacts::{bare, scratch};
use crate::compiler::compiler;
use crate::programs::sources;
use crate::{ensure, header, succeed, trial, Outcome};

/// The only symbols that it may need from a program.
const NEEDED: [&str; 6] = [
    "memcpy",
    "memmove",
    "memset",
    "memcmp",
    "bcmp",
    "shmr_panic",
];

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial(
            "bare::needs_only_memory_functions_and_a_panic",
            needs_only_memory_functions_and_a_panic,
        ),
        trial(
            "bare::has_every_function_of_the_header_without_linux",
            has_every_function,
        ),
        trial("bare::works_without_a_c_library::gcc", || works("gcc")),
        trial("bare::works_without_a_c_library::clang", || works("clang")),
    ]
}

/// Returns the symbols of an object or a library, as `nm` prints them: (kind, name).
fn symbols(of: &Path) -> Outcome<Vec<(String, String)>> {
    let listing = succeed(Command::new("nm").arg("--format=posix").arg(of))?;
    let symbol = |line: &str| {
        let mut words = line.split_whitespace();
        let name = words.next()?.to_owned();
        Some((words.next()?.to_owned(), name))
    };
    Ok(listing.lines().filter_map(symbol).collect())
}

/// Links all functions of the header into one object, and checks the symbols that are undefined.
fn needs_only_memory_functions_and_a_panic() -> Outcome {
    let source = scratch("bare-all.c");
    let object = source.with_extension("o");
    let names = functions().map(|function| format!("(void (*)(void)){},\n", function.name));
    let text = format!(
        "#include \"shmr.h\"\nextern void (*const all[])(void);\n\
        void (*const all[])(void) = {{\n{}}};\n",
        names.collect::<String>()
    );
    std::fs::write(&source, text)?;
    let mut compiler = compiler("gcc", "c99");
    compiler
        .args(["-DSHMR_BARE", "-ffreestanding", "-nostdlib", "-r"])
        .arg(&source)
        .arg(&bare()?.path)
        .arg("-o")
        .arg(&object);
    succeed(&mut compiler)?;
    let symbols = symbols(&object)?;
    let missing: Vec<_> = symbols
        .iter()
        .filter(|(kind, name)| kind == "U" && !NEEDED.contains(&name.as_str()))
        .collect();
    ensure(missing.is_empty(), || format!("needs {missing:?}"))
}

/// Returns the functions that every library has.
fn functions() -> impl Iterator<Item = header::Function> {
    header::functions()
        .into_iter()
        .filter(|function| function.condition.is_none())
}

fn has_every_function() -> Outcome {
    let symbols = symbols(&bare()?.path)?;
    for function in functions() {
        let is = |(kind, name): &(String, String)| kind == "T" && *name == function.name;
        ensure(symbols.iter().any(is), || function.name.clone())?;
    }
    Ok(())
}

fn works(name: &'static str) -> Outcome {
    let path = scratch(&format!("bare-{name}"));
    let mut compiler = compiler(name, "c99");
    compiler
        .args([
            "-DSHMR_BARE",
            "-ffreestanding",
            "-nostdlib",
            "-static",
            "-fno-pie",
            "-O2",
        ])
        // Otherwise the compiler may turn the memory functions into calls to themselves.
        .args([
            "-fno-builtin",
            "-fno-stack-protector",
            "-Wno-missing-field-initializers",
        ])
        .args(if name == "gcc" {
            &["-fno-tree-loop-distribute-patterns"][..]
        } else {
            &[]
        })
        .arg(sources().join("bare.c"))
        .arg(&bare()?.path)
        .arg("-o")
        .arg(&path);
    succeed(&mut compiler)?;
    succeed(Command::new("timeout").arg("20").arg(&path)).map(drop)
}
