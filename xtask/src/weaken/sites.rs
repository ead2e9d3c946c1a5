//! Finds the memory orderings in a source file.

use std::ops::{Range, RangeInclusive};

use anyhow::Result;
use proc_macro2::{Ident, TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{
    Expr, ExprCall, ExprClosure, ExprMethodCall, ExprPath, ImplItemFn, ItemFn, ItemImpl, ItemMod,
    Macro, Stmt, TraitItemFn,
};

use crate::cfg_test::for_tests;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strength {
    Relaxed,
    Acquire,
    Release,
    AcqRel,
    SeqCst,
}

impl Strength {
    fn parse(name: &Ident) -> Option<Self> {
        const ALL: [Strength; 5] = [
            Strength::Relaxed,
            Strength::Acquire,
            Strength::Release,
            Strength::AcqRel,
            Strength::SeqCst,
        ];
        ALL.into_iter().find(|strength| name == strength.name())
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Relaxed => "Relaxed",
            Self::Acquire => "Acquire",
            Self::Release => "Release",
            Self::AcqRel => "AcqRel",
            Self::SeqCst => "SeqCst",
        }
    }
}

/// One ordering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Site {
    /// The line of the ordering, from 1.
    pub(super) line: usize,
    /// The line on which the call begins whose argument it is.
    pub(super) call: usize,
    /// The line on which the statement around it begins.
    pub(super) statement: usize,
    /// The functions, `impl` blocks and closures around it, outermost first: the lines from the
    /// first attribute of each up to its own beginning.
    pub(super) items: Vec<RangeInclusive<usize>>,
    pub(super) strength: Strength,
    /// The bytes of the ordering's name.
    pub(super) name: Range<usize>,
    /// Whether the name follows a path such as `Ordering::`.
    pub(super) qualified: bool,
    /// The bytes of the whole call, if the ordering is that of a fence.
    pub(super) fence: Option<Range<usize>>,
}

/// Returns the orderings of `source` in the order of its lines, without imports and code that
/// only tests compile.
pub(super) fn find(source: &str) -> Result<Vec<Site>> {
    let file = syn::parse_file(source)?;
    let mut finder = Finder::default();
    finder.visit_file(&file);
    finder.sites.sort_by_key(|site| site.name.start);
    Ok(finder.sites)
}

#[derive(Default)]
struct Finder {
    sites: Vec<Site>,
    call: Option<usize>,
    statement: Option<usize>,
    items: Vec<RangeInclusive<usize>>,
    fence: Option<Range<usize>>,
}

impl Finder {
    fn ordering(&mut self, name: &Ident, qualified: bool) {
        let Some(strength) = Strength::parse(name) else {
            return;
        };
        let line = name.span().start().line;
        self.sites.push(Site {
            line,
            call: self.call.unwrap_or(line),
            items: self.items.clone(),
            statement: self.statement.unwrap_or(line),
            strength,
            name: name.span().byte_range(),
            qualified,
            fence: self.fence.clone(),
        });
    }

    /// Visits the content of an item, which begins on line `begins`, after its attributes.
    fn inside(&mut self, item: &impl Spanned, begins: usize, visit: impl FnOnce(&mut Self)) {
        self.items.push(first_line(item)..=begins);
        visit(self);
        self.items.pop();
    }

    /// Finds orderings by name in the arguments of a macro, which the parser does not parse as
    /// expressions.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut after_colon = false;
        for token in tokens {
            if let TokenTree::Ident(name) = &token {
                self.ordering(name, after_colon);
            }
            after_colon = matches!(&token, TokenTree::Punct(mark) if mark.as_char() == ':');
            if let TokenTree::Group(group) = token {
                self.tokens(group.stream());
            }
        }
    }
}

impl<'ast> Visit<'ast> for Finder {
    fn visit_stmt(&mut self, statement: &'ast Stmt) {
        let outer = self.statement.replace(first_line(statement));
        visit::visit_stmt(self, statement);
        self.statement = outer;
    }

    fn visit_expr_call(&mut self, call: &'ast ExprCall) {
        if is_fence(call) {
            self.fence = Some(call.span().byte_range());
        }
        let outer = self.call.replace(first_line(call));
        visit::visit_expr_call(self, call);
        self.call = outer;
        self.fence = None;
    }

    fn visit_expr_method_call(&mut self, call: &'ast ExprMethodCall) {
        let outer = self.call.replace(first_line(call));
        visit::visit_expr_method_call(self, call);
        self.call = outer;
    }

    /// A closure's mark may also be above its statement.
    fn visit_expr_closure(&mut self, closure: &'ast ExprClosure) {
        let line = first_line(closure);
        self.items.push(self.statement.unwrap_or(line)..=line);
        visit::visit_expr_closure(self, closure);
        self.items.pop();
    }

    fn visit_expr_path(&mut self, path: &'ast ExprPath) {
        let segments = &path.path.segments;
        if let Some(last) = segments.last() {
            self.ordering(&last.ident, segments.len() > 1);
        }
    }

    fn visit_macro(&mut self, item: &'ast Macro) {
        self.tokens(item.tokens.clone());
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if !for_tests(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        if !for_tests(&item.attrs) {
            let visit = |finder: &mut Self| visit::visit_item_fn(finder, item);
            self.inside(item, first_line(&item.sig), visit);
        }
    }

    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        if !for_tests(&item.attrs) {
            let visit = |finder: &mut Self| visit::visit_item_impl(finder, item);
            self.inside(item, first_line(&item.impl_token), visit);
        }
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        if !for_tests(&item.attrs) {
            let visit = |finder: &mut Self| visit::visit_impl_item_fn(finder, item);
            self.inside(item, first_line(&item.sig), visit);
        }
    }

    fn visit_trait_item_fn(&mut self, item: &'ast TraitItemFn) {
        let visit = |finder: &mut Self| visit::visit_trait_item_fn(finder, item);
        self.inside(item, first_line(&item.sig), visit);
    }
}

fn first_line(item: &impl Spanned) -> usize {
    item.span().start().line
}

fn is_fence(call: &ExprCall) -> bool {
    let Expr::Path(function) = &*call.func else {
        return false;
    };
    let last = function.path.segments.last();
    last.is_some_and(|segment| segment.ident == "fence")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(source: &str) -> Vec<(usize, &'static str, bool)> {
        let sites = find(source).unwrap();
        sites
            .iter()
            .map(|site| (site.line, site.strength.name(), site.fence.is_some()))
            .collect()
    }

    #[test]
    fn accesses_and_fences_are_found_on_their_lines() {
        let source = "use core::sync::atomic::Ordering::{Acquire, Release};\n\
            fn f(a: &A) {\n\
                a.0.store(1, Release); // Acquire in a comment\n\
                primitive::fence(Ordering::SeqCst);\n\
                let _ = a\n\
                    .1\n\
                    .compare_exchange(0, 1, AcqRel, Acquire);\n\
                let _ = \"Release\";\n\
            }\n";
        let expected = [
            (3, "Release", false),
            (4, "SeqCst", true),
            (7, "AcqRel", false),
            (7, "Acquire", false),
        ];
        assert_eq!(names(source), expected);
        assert_eq!(find(source).unwrap()[2].statement, 5);
        assert!(find(source).unwrap()[1].qualified);
    }

    #[test]
    fn an_ordering_inside_a_macro_is_found() {
        let source = "fn f(a: &A) { debug_assert_eq!(a.load(Ordering::Acquire), 0); }";
        assert_eq!(names(source), [(1, "Acquire", false)]);
        assert!(find(source).unwrap()[0].qualified);
    }

    #[test]
    fn code_that_only_tests_compile_is_left_out() {
        let source = "#[cfg(test)] mod tests { fn f(a: &A) { a.load(Acquire); } }\n\
            #[cfg(all(test, loom))] fn g(a: &A) { a.load(Acquire); }\n\
            #[cfg(not(test))] fn h(a: &A) { a.load(Acquire); }\n";
        assert_eq!(names(source), [(3, "Acquire", false)]);
    }

    #[test]
    fn the_range_is_the_name_even_after_multibyte_characters() {
        let source = "fn f(a: &A) { /* ä → */ a.load(Ordering::Acquire); }";
        let site = &find(source).unwrap()[0];
        assert_eq!(&source[site.name.clone()], "Acquire");
    }
}
