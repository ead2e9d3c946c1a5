//! The contents of one program or library of a package: its modules, the names in them, and
//! the paths that they use.

use std::collections::BTreeMap;
use std::path::PathBuf;

pub(super) type FileId = usize;
pub(super) type ModuleId = usize;

/// Root module and root file have number 0.
#[derive(Default)]
pub(super) struct Tree {
    pub(super) files: Vec<PathBuf>,
    pub(super) modules: Vec<Module>,
    pub(super) references: Vec<Reference>,
}

/// A module, which is a file or a part of one.
pub(super) struct Module {
    pub(super) file: FileId,
    /// The parent of the root is the root.
    pub(super) parent: ModuleId,
    /// A name may have several meanings: a module and a function, or one for each `cfg`.
    pub(super) names: BTreeMap<String, Vec<Meaning>>,
    /// The modules and types that `use x::*` names.
    pub(super) globs: Vec<Vec<String>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// An item of this module.
    Item,
    Module(ModuleId),
    /// A `use` gave this path the name.
    Use(Vec<String>),
    /// A `use` inside a function, which other modules do not see.
    LocalUse(Vec<String>),
}

/// A path that code of a module uses.
#[derive(Clone, Debug)]
pub(super) struct Reference {
    pub(super) module: ModuleId,
    pub(super) line: usize,
    pub(super) path: Vec<String>,
}

impl Tree {
    pub(super) fn add_file(&mut self, path: PathBuf) -> FileId {
        self.files.push(path);
        self.files.len() - 1
    }

    pub(super) fn add_module(&mut self, file: FileId, parent: ModuleId) -> ModuleId {
        self.modules.push(Module {
            file,
            parent,
            names: BTreeMap::new(),
            globs: Vec::new(),
        });
        self.modules.len() - 1
    }

    pub(super) fn name(&mut self, module: ModuleId, name: String, meaning: Meaning) {
        let meanings = self.modules[module].names.entry(name).or_default();
        if !meanings.contains(&meaning) {
            meanings.push(meaning);
        }
    }

    /// Returns the name of the top-level module that contains `module`; `None` for the root.
    pub(super) fn top_level(&self, mut module: ModuleId) -> Option<&str> {
        while self.modules[module].parent != 0 {
            module = self.modules[module].parent;
        }
        let is_it = |meanings: &Vec<Meaning>| meanings.contains(&Meaning::Module(module));
        let mut names = self.modules[0].names.iter();
        let (name, _) = names.find(|(_, meanings)| is_it(meanings))?;
        Some(name)
    }
}
