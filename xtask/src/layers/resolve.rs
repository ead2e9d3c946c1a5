//! Finds the definitions that a path names.

use std::collections::BTreeSet;

use super::tree::{FileId, Meaning, ModuleId, Tree};

/// The largest number of `use`s to follow for a name; more of them form a circle.
const MAX_DEPTH: usize = 16;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Definition {
    /// An item of this module.
    Item(ModuleId),
    Module(ModuleId),
    /// An item of another crate, by the name that the code gives the crate.
    Crate(String),
}

/// Returns the definitions that `path` names in `module`.
pub(super) fn resolve(
    tree: &Tree,
    crates: &BTreeSet<String>,
    module: ModuleId,
    path: &[String],
) -> BTreeSet<Definition> {
    let resolver = Resolver { tree, crates };
    resolver.path(module, path, MAX_DEPTH)
}

/// Returns the file of an item.
pub(super) fn file(tree: &Tree, module: ModuleId) -> FileId {
    tree.modules[module].file
}

struct Resolver<'a> {
    tree: &'a Tree,
    crates: &'a BTreeSet<String>,
}

impl Resolver<'_> {
    fn path(&self, module: ModuleId, path: &[String], depth: usize) -> BTreeSet<Definition> {
        let Some((first, rest)) = path.split_first() else {
            return BTreeSet::new();
        };
        let mut found: BTreeSet<_> = match first.as_str() {
            "crate" => [Definition::Module(0)].into(),
            "self" => [Definition::Module(module)].into(),
            "super" => [Definition::Module(self.tree.modules[module].parent)].into(),
            name => self.name(module, name, module, depth),
        };
        // A single word may be a variable.
        if found.is_empty() && !rest.is_empty() && self.crates.contains(first) {
            found.insert(Definition::Crate(first.clone()));
        }
        for name in rest {
            let modules: Vec<_> = found
                .iter()
                .filter_map(|definition| match definition {
                    Definition::Module(inner) => Some(*inner),
                    _ => None,
                })
                .collect();
            // The rest belongs to the item, such as a variant or an associated function.
            if modules.is_empty() {
                break;
            }
            found = modules
                .into_iter()
                .flat_map(|inner| match name.as_str() {
                    "super" => [Definition::Module(self.tree.modules[inner].parent)].into(),
                    name => {
                        let mut known = self.name(inner, name, module, depth);
                        if known.is_empty() {
                            // A macro defines it, or another crate does.
                            known.insert(Definition::Item(inner));
                        }
                        known
                    }
                })
                .collect();
        }
        found
    }

    /// Returns what `name` means in `module`, for code in module `from`.
    fn name(
        &self,
        module: ModuleId,
        name: &str,
        from: ModuleId,
        depth: usize,
    ) -> BTreeSet<Definition> {
        let Some(depth) = depth.checked_sub(1) else {
            return BTreeSet::new();
        };
        let inner = &self.tree.modules[module];
        let mut found = BTreeSet::new();
        for meaning in inner.names.get(name).into_iter().flatten() {
            match meaning {
                Meaning::Item => {
                    found.insert(Definition::Item(module));
                }
                Meaning::Module(child) => {
                    found.insert(Definition::Module(*child));
                }
                Meaning::LocalUse(_) if from != module => (),
                Meaning::Use(path) | Meaning::LocalUse(path) => {
                    found.extend(self.path(module, path, depth));
                }
            }
        }
        if found.is_empty() {
            for glob in &inner.globs {
                for definition in self.path(module, glob, depth) {
                    match definition {
                        Definition::Module(other) if other != module => {
                            found.extend(self.name(other, name, from, depth));
                        }
                        _ => (),
                    }
                }
            }
        }
        found
    }
}
