//! The marks that tie a memory ordering to its model, or give the reason for having none.
//!
//! A mark is a comment at the end of the ordering's line, or on a line of its own. That line
//! is among the comment lines directly above the ordering, above its call or above its
//! statement, where rustfmt leaves it unchanged.
//!
//! - `// loom: loom_ring`: some model in `tests/loom_ring.rs` fails without the ordering;
//! - `// loom: loom_ring::a_name`: this model fails without it;
//! - `// loom: none (reason)`: no model can show it, for this reason;
//! - `// relaxed: reason`: why a relaxed access needs no ordering;
//! - `// relaxed in all of this: reason`: the same for every relaxed access of the function,
//!   `impl` block or closure below.

use std::ops::RangeInclusive;

use anyhow::{Result, bail};

use super::sites::Site;

const WORD: &str = "// loom:";
const RELAXED: &str = "// relaxed:";
const ALL_RELAXED: &str = "// relaxed in all of this:";

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mark {
    Model {
        /// The name of the test file, without its extension.
        file: String,
        /// The test; `None` stands for all tests of the file.
        test: Option<String>,
    },
    None {
        reason: String,
    },
}

/// Returns the number of the line, from 1, that names the model of `site`.
pub(super) fn mark_line(lines: &[&str], site: &Site) -> Option<usize> {
    find_near(lines, site, WORD)
}

/// Returns the number of the line, from 1, that gives the reason of the relaxed access `site`.
pub(super) fn reason_line(lines: &[&str], site: &Site) -> Option<usize> {
    let item_reason = |item: &RangeInclusive<usize>| {
        let attributes = item
            .clone()
            .find(|&line| is_mark(lines[line - 1], ALL_RELAXED));
        attributes.or_else(|| above(lines, *item.start(), ALL_RELAXED))
    };
    let own = find_near(lines, site, RELAXED);
    own.or_else(|| site.items.iter().rev().find_map(item_reason))
}

fn find_near(lines: &[&str], site: &Site, word: &str) -> Option<usize> {
    if lines[site.line - 1].contains(word) {
        return Some(site.line);
    }
    let places = [site.line, site.call, site.statement];
    places.into_iter().find_map(|line| above(lines, line, word))
}

fn above(lines: &[&str], line: usize, word: &str) -> Option<usize> {
    (1..line)
        .rev()
        .take_while(|&line| lines[line - 1].trim_start().starts_with("//"))
        .find(|&line| is_mark(lines[line - 1], word))
}

/// Returns true if a line consists of this mark alone.
fn is_mark(line: &str, word: &str) -> bool {
    line.trim_start().starts_with(word)
}

/// Returns the numbers, from 1, of the lines that name a model.
pub(super) fn models<'a>(lines: &'a [&str]) -> impl Iterator<Item = usize> + 'a {
    with(lines, &[WORD])
}

/// Returns the numbers, from 1, of the lines that give a reason for a relaxed access.
pub(super) fn reasons<'a>(lines: &'a [&str]) -> impl Iterator<Item = usize> + 'a {
    with(lines, &[RELAXED, ALL_RELAXED])
}

fn with<'a>(lines: &'a [&str], words: &'a [&str]) -> impl Iterator<Item = usize> + 'a {
    let marked = |line: &str| words.iter().any(|word| line.contains(word));
    let numbered = (1..).zip(lines);
    numbered.filter_map(move |(number, line)| marked(line).then_some(number))
}

/// Returns true if the mark on `line`, which [`reason_line`] has found, gives a reason.
pub(super) fn has_reason(line: &str) -> bool {
    [RELAXED, ALL_RELAXED]
        .iter()
        .filter_map(|word| line.split_once(word))
        .any(|(_, reason)| !reason.trim().is_empty())
}

/// Parses the mark on `line`, which [`mark_line`] has found.
pub(super) fn parse(line: &str) -> Result<Mark> {
    let (_, text) = line.split_once(WORD).unwrap_or_default();
    let text = text.trim();
    if let Some(rest) = text.strip_prefix("none") {
        let reason = rest.trim().strip_prefix('(');
        return match reason.and_then(|reason| reason.strip_suffix(')')) {
            Some(reason) if !reason.trim().is_empty() => Ok(Mark::None {
                reason: reason.to_owned(),
            }),
            _ => bail!("`loom: none` needs its reason in parentheses"),
        };
    }
    let (file, test) = match text.split_once("::") {
        Some((file, test)) => (file, Some(test.to_owned())),
        None => (text, None),
    };
    let file = file.strip_suffix(".rs").unwrap_or(file);
    if !is_path(file) || !test.as_deref().is_none_or(is_path) {
        bail!("`{text}` is not FILE, FILE::TEST or none (reason)");
    }
    Ok(Mark::Model {
        file: file.to_owned(),
        test,
    })
}

fn is_path(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':';
    !text.is_empty() && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::super::sites;
    use super::*;

    fn mark_lines(source: &str) -> Vec<Option<usize>> {
        let lines: Vec<_> = source.lines().collect();
        let sites = sites::find(source).unwrap();
        sites.iter().map(|site| mark_line(&lines, site)).collect()
    }

    #[test]
    fn a_mark_is_beside_or_above_its_ordering_or_above_the_statement() {
        let source = "fn f(a: &A) {\n\
            a.store(1, Release); // loom: loom_a\n\
            // loom: loom_b\n\
            // More about it.\n\
            a.store(1, Release);\n\
            // loom: loom_c\n\
            a.inner\n\
                .store(1, Release);\n\
            a.store(1, Release);\n\
        }";
        assert_eq!(mark_lines(source), [Some(2), Some(3), Some(6), None]);
    }

    #[test]
    fn a_mark_is_above_its_call_if_that_is_not_a_statement() {
        let source = "fn f(a: &A) -> u32 {\n\
            match a {\n\
            // loom: loom_a\n\
            A => a\n\
                .inner\n\
                .load(Acquire),\n\
            _ => a.load(Acquire),\n\
            }\n\
        }";
        assert_eq!(mark_lines(source), [Some(3), None]);
    }

    fn reason_lines(source: &str) -> Vec<Option<usize>> {
        let lines: Vec<_> = source.lines().collect();
        let sites = sites::find(source).unwrap();
        sites.iter().map(|site| reason_line(&lines, site)).collect()
    }

    #[test]
    fn a_reason_is_beside_its_access_or_above_the_statement() {
        let source = "fn f(a: &A) {\n\
            a.load(Relaxed); // relaxed: own word\n\
            // relaxed: a hint\n\
            let x = a\n\
                .load(Relaxed);\n\
            // A comment.\n\
            a.load(Relaxed);\n\
            // loom: loom_a\n\
            // relaxed: nothing is read on failure\n\
            a.compare_exchange(0, 1, Release, Relaxed);\n\
        }";
        let expected = [Some(2), Some(3), None, Some(9), Some(9)];
        assert_eq!(reason_lines(source), expected);
    }

    #[test]
    fn one_reason_is_enough_for_a_function_an_impl_block_or_a_closure() {
        let source = "// relaxed in all of this: counters\n\
            impl A {\n\
            fn f(&self) { self.a.load(Relaxed); }\n\
            /// Docs.\n\
            // relaxed in all of this: own\n\
            #[inline]\n\
            fn g(&self) { self.a.load(Relaxed); }\n\
            }\n\
            fn h(a: &A) {\n\
            // relaxed in all of this: polled\n\
            let read = |a: &A| {\n\
            a.load(Relaxed);\n\
            a.load(Relaxed)\n\
            };\n\
            a.load(Relaxed);\n\
            }";
        let expected = [Some(1), Some(5), Some(10), Some(10), None];
        assert_eq!(reason_lines(source), expected);
    }

    #[test]
    fn a_reason_is_not_empty() {
        assert!(has_reason("a.load(Relaxed); // relaxed: own word"));
        assert!(has_reason("// relaxed in all of this: own words"));
        assert!(!has_reason("// relaxed:"));
        assert!(!has_reason("// relaxed in all of this: "));
    }

    #[test]
    fn a_mark_names_a_file_or_a_test() {
        let model = |file: &str, test: Option<&str>| Mark::Model {
            file: file.to_owned(),
            test: test.map(str::to_owned),
        };
        let parsed = |line| parse(line).unwrap();
        assert_eq!(parsed("x(); // loom: loom_ring"), model("loom_ring", None));
        assert_eq!(parsed("// loom: loom_ring.rs"), model("loom_ring", None));
        assert_eq!(
            parsed("// loom: loom_ring::wraps"),
            model("loom_ring", Some("wraps"))
        );
    }

    #[test]
    fn an_exemption_needs_a_reason() {
        let reason = "not compiled under loom".to_owned();
        let line = "// loom: none (not compiled under loom)";
        assert_eq!(parse(line).unwrap(), Mark::None { reason });
        assert!(parse("// loom: none").is_err());
        assert!(parse("// loom: none ()").is_err());
        assert!(parse("// loom: the ring model").is_err());
        assert!(parse("// loom:").is_err());
    }
}
