//! Collects the imports of all packages, and the errors in them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::graph::{Graph, Import};
use super::order::{self, ModuleOrder};
use super::packages::Package;
use super::parse;
use super::resolve::{self, Definition};
use super::tree::{Reference, Tree};

/// The result; files have their paths below the workspace.
#[derive(Default)]
pub(super) struct Survey {
    pub(super) files: BTreeSet<String>,
    pub(super) imports: usize,
    /// The packages from which each package imports.
    pub(super) crates: BTreeMap<String, BTreeSet<String>>,
    /// Files that import in a circle: the shortest circle for each import on one.
    pub(super) circles: Vec<Vec<Import>>,
    /// Imports against the order of the crates, or of a crate's modules.
    pub(super) upward: Vec<Import>,
    /// Modules that the order of their crate does not contain.
    pub(super) unordered: Vec<String>,
}

impl Survey {
    pub(super) fn take(root: &Path, packages: &[Package]) -> Result<Self> {
        let mut survey = Self::default();
        let libraries: BTreeMap<_, _> = packages
            .iter()
            .filter_map(|package| Some((package.library.clone()?, package.name.as_str())))
            .collect();
        let crates: BTreeSet<_> = libraries.keys().cloned().collect();
        for package in packages {
            let mut graph = Graph::default();
            survey.crates.entry(package.name.clone()).or_default();
            for path in &package.roots {
                let target = Target {
                    root,
                    package,
                    tree: parse::read(path)?,
                };
                survey.files.extend(target.files());
                for reference in &target.tree.references {
                    let (tree, path) = (&target.tree, &reference.path);
                    for found in resolve::resolve(tree, &crates, reference.module, path) {
                        match found {
                            Definition::Item(module) => {
                                let to = target.file(resolve::file(tree, module));
                                graph.add(target.import(reference, to));
                            }
                            Definition::Crate(name) => {
                                survey.crate_import(&target, reference, libraries[&name]);
                            }
                            Definition::Module(_) => (),
                        }
                    }
                }
                if order::ORDERED.contains(&package.name.as_str()) {
                    survey.module_order(&target, &crates)?;
                }
            }
            survey.imports += graph.imports().count();
            survey.circles.extend(graph.circles());
        }
        let pair = |import: &Import| (import.from.clone(), import.to.clone());
        survey
            .upward
            .sort_by_key(|import| (pair(import), import.line));
        survey.upward.dedup_by_key(|import| pair(import));
        Ok(survey)
    }

    fn crate_import(&mut self, target: &Target, reference: &Reference, to: &str) {
        let from = &target.package.name;
        if from == to {
            return;
        }
        self.crates
            .entry(from.clone())
            .or_default()
            .insert(to.to_owned());
        if !order::crate_may_import(from, to) {
            self.upward.push(target.import(reference, to.to_owned()));
        }
    }

    fn module_order(&mut self, target: &Target, crates: &BTreeSet<String>) -> Result<()> {
        let tree = &target.tree;
        let source = fs::read_to_string(&tree.files[0]).context("cannot read lib.rs")?;
        let order = ModuleOrder::read(&source)?;
        for reference in &tree.references {
            let from = tree.top_level(reference.module);
            for found in resolve::resolve(tree, crates, reference.module, &reference.path) {
                let Definition::Item(module) = found else {
                    continue;
                };
                if !order.may_import(from, tree.top_level(module)) {
                    let to = target.file(resolve::file(tree, module));
                    self.upward.push(target.import(reference, to));
                }
            }
        }
        let children = (1..tree.modules.len()).filter(|&module| tree.modules[module].parent == 0);
        let names = children.filter_map(|module| tree.top_level(module));
        let missing = names.filter(|name| !order.has(name));
        let named = |name: &str| format!("{}::{name}", target.package.name);
        self.unordered.extend(missing.map(named));
        Ok(())
    }
}

/// One library or program of a package.
struct Target<'a> {
    root: &'a Path,
    package: &'a Package,
    tree: Tree,
}

impl Target<'_> {
    fn file(&self, number: usize) -> String {
        let path = &self.tree.files[number];
        let path = path.strip_prefix(self.root).unwrap_or(path);
        path.display().to_string()
    }

    fn files(&self) -> impl Iterator<Item = String> {
        (0..self.tree.files.len()).map(|number| self.file(number))
    }

    fn import(&self, reference: &Reference, to: String) -> Import {
        let module = &self.tree.modules[reference.module];
        Import {
            from: self.file(module.file),
            line: reference.line,
            to,
            path: reference.path.join("::"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The survey of one package with these files; the first is its root.
    fn survey(name: &str, files: &[(&str, &str)]) -> Survey {
        let directory = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let package = |name: &str, roots| Package {
            name: name.to_owned(),
            library: Some(name.replace('-', "_")),
            roots,
        };
        let packages = [
            package(name, vec![directory.path().join(files[0].0)]),
            package("shmem-sync", Vec::new()),
        ];
        Survey::take(directory.path(), &packages).unwrap()
    }

    fn circles(files: &[(&str, &str)]) -> Vec<Vec<String>> {
        let names = |circle: Vec<Import>| circle.into_iter().map(|import| import.from).collect();
        let circles = survey("kmon", files).circles;
        circles.into_iter().map(names).collect()
    }

    #[test]
    fn two_files_that_import_from_each_other_are_a_circle() {
        let files = [
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "use crate::b::B; pub struct A;"),
            ("b.rs", "pub struct B; fn f(_: super::a::A) {}"),
        ];
        assert_eq!(circles(&files), [["a.rs", "b.rs"]]);
    }

    #[test]
    fn a_circle_through_a_re_export_names_the_defining_files() {
        let files = [
            ("lib.rs", "mod a; mod b; pub use a::A;"),
            ("a/mod.rs", "mod inner; pub use inner::*;"),
            (
                "a/inner.rs",
                "use crate::b; pub struct A; fn f() { b::f() }",
            ),
            ("b.rs", "pub fn f() { vec![crate::A] }"),
        ];
        assert_eq!(circles(&files), [["a/inner.rs", "b.rs"]]);
    }

    #[test]
    fn a_child_and_a_parent_that_use_each_others_definitions_are_a_circle() {
        let parent = "mod child; pub struct P; fn f() { child::f() }";
        let files = [
            ("lib.rs", parent),
            ("child.rs", "pub fn f() { let _ = super::P; }"),
        ];
        assert_eq!(circles(&files), [["child.rs", "lib.rs"]]);
    }

    #[test]
    fn declarations_re_exports_and_tests_are_not_imports() {
        let files = [
            (
                "lib.rs",
                "mod a; pub use a::A; pub struct P; #[cfg(test)] mod tests;",
            ),
            (
                "a.rs",
                "use super::P; pub struct A(P); #[cfg(test)] mod tests { use crate::b::B; }",
            ),
        ];
        assert!(circles(&files).is_empty());
    }

    #[test]
    fn imports_are_found_in_functions_macros_and_globs() {
        let files = [
            ("lib.rs", "mod a; mod b; mod c; mod d;"),
            ("a.rs", "pub fn a() { use crate::b::b as other; other() }"),
            ("b.rs", "pub fn b() { println!(\"{}\", crate::c::c().a) }"),
            ("c.rs", "use super::d::*; pub fn c() { d() }"),
            ("d.rs", "pub fn d() { crate::a::a() }"),
        ];
        assert_eq!(circles(&files), [["a.rs", "b.rs", "c.rs", "d.rs"]]);
    }

    #[test]
    fn an_import_from_a_crate_in_the_same_or_a_higher_row_is_upward() {
        let source = "pub fn f(kmon: u8) -> shmem_sync::Mutex { g(kmon) }";
        for (name, expected) in [("shmem-registry", 1), ("shmem-core", 1), ("kmon", 0)] {
            let survey = survey(name, &[("lib.rs", source)]);
            assert_eq!(survey.upward.len(), expected, "{name}");
            let imported: Vec<_> = survey.crates[name].iter().collect();
            assert_eq!(imported, ["shmem-sync"]);
        }
    }

    #[test]
    fn an_import_of_a_core_module_from_a_higher_row_is_upward() {
        let root = "//! | [`ring`] | |\n//! | `mem` | |\npub mod ring; pub mod mem; mod error;";
        let files = [
            ("lib.rs", root),
            ("ring.rs", "pub struct Ring(crate::mem::Window);"),
            ("mem/mod.rs", "mod window; pub use window::Window;"),
            (
                "mem/window.rs",
                "pub struct Window; fn f(_: crate::ring::Ring) {}",
            ),
            ("error.rs", ""),
        ];
        let survey = survey("shmem-core", &files);
        let places: Vec<_> = survey
            .upward
            .iter()
            .map(|import| import.from.as_str())
            .collect();
        assert_eq!(places, ["mem/window.rs"]);
        assert_eq!(survey.unordered, ["shmem-core::error"]);
    }
}
