//! `cargo xtask layers`: checks that imports only go down.
//!
//! It reads the sources of every package with `syn`: libraries, programs, examples, benches
//! and build scripts. It reports two errors: files of a package that import in a circle, and
//! an import against the order of the crates or, in shmem-core and shmem-registry, of the
//! modules ([`order`]).
//!
//! The definition of an import:
//!
//! - A file imports from the file that defines what a path names: in a `use`, in a type, an
//!   expression, a pattern, or the arguments of a macro. Re-exports are followed to the
//!   definition, so an import through `mod.rs` is not an import from `mod.rs`.
//! - `mod child;` is not an import, nor is a module's name alone (`use super::words;`): the
//!   paths through it are (`words::load`).
//! - A re-export (`pub use child::Item;`, of any visibility) is not an import: it gives a name
//!   to a definition in another file. If the same file uses that name, it imports.
//! - So a child that imports what its parent defines, and a parent that uses what the child
//!   defines, form a circle. A parent that only declares and re-exports is in no circle.
//! - Code that only tests compile does not count, nor do files under `tests/`, doc links and
//!   the text of attributes.
//! - A method call names no file, so it does not count. A name that a macro makes, or that
//!   another crate defines, counts as an item of the module that the path names.
//! - A `use` inside a function counts for its whole module.

mod graph;
mod order;
mod packages;
mod parse;
mod report;
mod resolve;
mod survey;
mod tree;

use std::process::ExitCode;

use anyhow::Result;

use crate::workspace::Workspace;
use survey::Survey;

/// Check that imports only go down
///
/// Fails if files of a package import in a circle, or if a crate, or a module of
/// shmem-core or shmem-registry, imports from one above it.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Print one JSON document to standard output
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let root = Workspace::find()?.root;
    let survey = Survey::take(&root, &packages::find(&root)?)?;
    let report = report::Report::new(survey);
    report.print(arguments.json);
    Ok(if report.passes() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
