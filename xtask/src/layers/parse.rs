//! Reads the modules of one program or library, from its root file on.

use std::fs;
use std::mem;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use proc_macro2::{Ident, TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{
    Attribute, Block, Expr, ImplItem, Item, ItemMacro, ItemMod, ItemUse, Lit, Macro, Meta, UseTree,
    Visibility,
};

use super::tree::{FileId, Meaning, ModuleId, Reference, Tree};
use crate::cfg_test::for_tests;

/// Reads `root` and the files of all its modules, except those that only tests compile.
pub(super) fn read(root: &Path) -> Result<Tree> {
    let mut tree = Tree::default();
    let file = tree.add_file(root.to_owned());
    let module = tree.add_module(file, 0);
    let mut reader = Reader {
        children: root.parent().unwrap_or(root).to_owned(),
        tree,
        module,
        in_body: false,
        error: None,
    };
    reader.file(root)?;
    Ok(reader.tree)
}

struct Reader {
    tree: Tree,
    module: ModuleId,
    /// The directory of the files of this module's children.
    children: PathBuf,
    /// Whether this is inside a function: other modules do not see its items.
    in_body: bool,
    error: Option<anyhow::Error>,
}

impl Reader {
    fn file(&mut self, path: &Path) -> Result<()> {
        let text =
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let file = syn::parse_file(&text).with_context(|| path.display().to_string())?;
        if !for_tests(&file.attrs) {
            self.visit_file(&file);
        }
        self.error.take().map_or(Ok(()), Err)
    }

    fn here(&self) -> FileId {
        self.tree.modules[self.module].file
    }

    fn define(&mut self, name: &Ident) {
        if !self.in_body {
            self.tree.name(self.module, name.to_string(), Meaning::Item);
        }
    }

    fn refer(&mut self, line: usize, path: Vec<String>) {
        self.tree.references.push(Reference {
            module: self.module,
            line,
            path,
        });
    }

    /// Visits a child module, with its own directory for files.
    fn child(&mut self, item: &ItemMod) -> Result<()> {
        let name = item.ident.to_string();
        let explicit = path_attribute(&item.attrs);
        let (file, children, source) = match &item.content {
            Some(_) => (self.here(), self.children.join(&name), None),
            None => {
                let path = self.find(&name, explicit.as_deref())?;
                let directory = path.parent().unwrap_or(&path);
                let children = if path.ends_with("mod.rs") || explicit.is_some() {
                    directory.to_owned()
                } else {
                    directory.join(&name)
                };
                (self.tree.add_file(path.clone()), children, Some(path))
            }
        };
        let module = self.tree.add_module(file, self.module);
        self.tree.name(self.module, name, Meaning::Module(module));
        let outer = (self.module, mem::replace(&mut self.children, children));
        self.module = module;
        let outcome = match (&source, &item.content) {
            (Some(path), _) => self.file(path),
            (None, Some((_, items))) => {
                items.iter().for_each(|item| self.visit_item(item));
                Ok(())
            }
            (None, None) => Ok(()),
        };
        (self.module, self.children) = outer;
        outcome
    }

    fn find(&self, name: &str, explicit: Option<&str>) -> Result<PathBuf> {
        if let Some(path) = explicit {
            let here = &self.tree.files[self.here()];
            return Ok(here.parent().unwrap_or(here).join(path));
        }
        let directory = &self.children;
        let candidates = [format!("{name}.rs"), format!("{name}/mod.rs")];
        let mut paths = candidates.iter().map(|file| directory.join(file));
        match paths.find(|path| path.is_file()) {
            Some(path) => Ok(path),
            None => bail!("no file for module `{name}` in {}", directory.display()),
        }
    }

    fn use_tree(&mut self, tree: &UseTree, mut prefix: Vec<String>, private: bool, line: usize) {
        let (path, name) = match tree {
            UseTree::Path(path) => {
                prefix.push(path.ident.to_string());
                return self.use_tree(&path.tree, prefix, private, line);
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.use_tree(tree, prefix.clone(), private, tree.span().start().line);
                }
                return;
            }
            UseTree::Glob(_) => {
                self.refer(line, prefix.clone());
                self.tree.modules[self.module].globs.push(prefix);
                return;
            }
            UseTree::Name(name) => leaf(prefix, &name.ident, &name.ident),
            UseTree::Rename(rename) => leaf(prefix, &rename.ident, &rename.rename),
        };
        if private {
            self.refer(line, path.clone());
        }
        // `use a::f` inside a function that is also named f adds no meaning.
        if path.last() != Some(&name) || path.len() > 1 {
            let meaning = if self.in_body {
                Meaning::LocalUse(path)
            } else {
                Meaning::Use(path)
            };
            self.tree.name(self.module, name, meaning);
        }
    }

    /// Reads the arguments of a macro, which have no grammar: what looks like a path is one.
    fn tokens(&mut self, tokens: TokenStream) {
        let tokens: Vec<_> = tokens.into_iter().collect();
        let mark = |at: usize, mark: char| matches!(tokens.get(at), Some(TokenTree::Punct(found)) if found.as_char() == mark);
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            at += 1;
            match token {
                TokenTree::Group(group) => self.tokens(group.stream()),
                // Neither a field nor a method.
                TokenTree::Ident(first) if at == 1 || !mark(at - 2, '.') => {
                    let mut path = vec![first.to_string()];
                    while mark(at, ':') && mark(at + 1, ':') {
                        let Some(TokenTree::Ident(next)) = tokens.get(at + 2) else {
                            break;
                        };
                        path.push(next.to_string());
                        at += 3;
                    }
                    self.refer(first.span().start().line, path);
                }
                _ => (),
            }
        }
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast Item) {
        if for_tests(attributes(item)) {
            return;
        }
        if let Some(name) = name(item) {
            self.define(name);
        }
        visit::visit_item(self, item);
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let attributes: &[Attribute] = match item {
            ImplItem::Fn(item) => &item.attrs,
            ImplItem::Const(item) => &item.attrs,
            _ => &[],
        };
        if !for_tests(attributes) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if let Err(error) = self.child(item) {
            self.error.get_or_insert(error);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let private = matches!(item.vis, Visibility::Inherited);
        if item.leading_colon.is_none() {
            let line = item.span().start().line;
            self.use_tree(&item.tree, Vec::new(), private, line);
        }
    }

    fn visit_item_macro(&mut self, item: &'ast ItemMacro) {
        if let Some(name) = &item.ident {
            self.define(name);
        }
        visit::visit_item_macro(self, item);
    }

    fn visit_block(&mut self, block: &'ast Block) {
        let outer = mem::replace(&mut self.in_body, true);
        visit::visit_block(self, block);
        self.in_body = outer;
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() {
            let names = path.segments.iter().map(|part| part.ident.to_string());
            self.refer(path.span().start().line, names.collect());
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &'ast Macro) {
        self.visit_path(&item.path);
        self.tokens(item.tokens.clone());
    }

    /// Skips attributes: they contain no imports.
    fn visit_attribute(&mut self, _: &'ast Attribute) {}
}

/// Returns the path of a name in a `use`, and the name that the `use` gives it.
fn leaf(mut prefix: Vec<String>, name: &Ident, given: &Ident) -> (Vec<String>, String) {
    if name != "self" {
        prefix.push(name.to_string());
        return (prefix, given.to_string());
    }
    let given = if given == "self" {
        prefix.last().cloned().unwrap_or_default()
    } else {
        given.to_string()
    };
    (prefix, given)
}

fn path_attribute(attributes: &[Attribute]) -> Option<String> {
    attributes.iter().find_map(|attribute| {
        let Meta::NameValue(pair) = &attribute.meta else {
            return None;
        };
        match &pair.value {
            Expr::Lit(value) if pair.path.is_ident("path") => match &value.lit {
                Lit::Str(text) => Some(text.value()),
                _ => None,
            },
            _ => None,
        }
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn name(item: &Item) -> Option<&Ident> {
    match item {
        Item::Const(item) => Some(&item.ident),
        Item::Enum(item) => Some(&item.ident),
        Item::Fn(item) => Some(&item.sig.ident),
        Item::Static(item) => Some(&item.ident),
        Item::Struct(item) => Some(&item.ident),
        Item::Trait(item) => Some(&item.ident),
        Item::TraitAlias(item) => Some(&item.ident),
        Item::Type(item) => Some(&item.ident),
        Item::Union(item) => Some(&item.ident),
        _ => None,
    }
}
