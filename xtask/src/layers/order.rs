//! The orders in which crates and modules import: highest first.

use anyhow::Result;
use syn::{Attribute, Expr, Lit, Meta};

/// The library crates. A crate that is not listed is above them all. Crates in one row do not
/// import from each other.
const CRATES: &[&[&str]] = &[
    &["shmem-channel"],
    &["shmem-registry", "shmem-sync"],
    &["shmem-core"],
];

/// The crates whose modules have an order, which the table in their `lib.rs` gives.
pub(super) const ORDERED: [&str; 2] = ["shmem-core", "shmem-registry"];

/// Returns true if package `from` may import from package `to`.
pub(super) fn crate_may_import(from: &str, to: &str) -> bool {
    let row = |name: &str| CRATES.iter().position(|row| row.contains(&name));
    match (row(from), row(to)) {
        (Some(from), Some(to)) => from < to,
        (Some(_), None) => false,
        (None, _) => true,
    }
}

/// The rows of modules in a table of a crate's documentation: highest first.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ModuleOrder {
    rows: Vec<Vec<String>>,
}

impl ModuleOrder {
    /// Reads the names in backticks from the first cell of each row of a table in the `//!`
    /// lines of `source`.
    pub(super) fn read(source: &str) -> Result<Self> {
        let file = syn::parse_file(source)?;
        let lines = file.attrs.iter().filter_map(doc_line);
        let rows = lines.filter_map(|line| {
            let (cell, _) = line.trim().strip_prefix('|')?.split_once('|')?;
            let names: Vec<_> = cell
                .split('`')
                .skip(1)
                .step_by(2)
                .map(str::to_owned)
                .collect();
            (!names.is_empty()).then_some(names)
        });
        Ok(Self {
            rows: rows.collect(),
        })
    }

    pub(super) fn has(&self, module: &str) -> bool {
        self.row(module).is_some()
    }

    /// Returns true if code of `from` may import from `to`. `None` is the root file, above all.
    pub(super) fn may_import(&self, from: Option<&str>, to: Option<&str>) -> bool {
        match (from, to) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(from), Some(to)) => from == to || self.row(from) < self.row(to),
        }
    }

    fn row(&self, module: &str) -> Option<usize> {
        let is_it = |name: &String| name == module;
        self.rows.iter().position(|row| row.iter().any(is_it))
    }
}

fn doc_line(attribute: &Attribute) -> Option<String> {
    let Meta::NameValue(pair) = &attribute.meta else {
        return None;
    };
    match &pair.value {
        Expr::Lit(value) if pair.path.is_ident("doc") => match &value.lit {
            Lit::Str(text) => Some(text.value()),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crates_import_from_the_rows_below_theirs() {
        assert!(crate_may_import("kmon", "shmem-core"));
        assert!(crate_may_import("kmon", "kmon-protocol"));
        assert!(crate_may_import("shmem-channel", "shmem-sync"));
        assert!(!crate_may_import("shmem-core", "shmem-registry"));
        assert!(!crate_may_import("shmem-registry", "shmem-sync"));
        assert!(!crate_may_import("shmem-sync", "kmon"));
    }

    #[test]
    fn modules_import_from_the_rows_below_theirs() {
        let order = ModuleOrder::read(
            "//! | module | purpose |\n//! |--|--|\n\
             //! | [`ring`], [`region`] | above |\n//! | `mem` | below |\n",
        );
        let order = order.unwrap();
        let may = |from, to| order.may_import(Some(from), Some(to));
        assert!(may("ring", "mem") && may("ring", "ring"));
        assert!(!may("mem", "ring") && !may("ring", "region"));
        assert!(order.may_import(None, Some("mem")) && !order.may_import(Some("mem"), None));
        assert!(order.has("region") && !order.has("module"));
    }
}
