//! The marks that tie a memory ordering to its model.
//!
//! A mark is a comment of its own, at the end of the ordering's line, among
//! the comment lines directly above it, or among those above its statement:
//!
//! - `// loom: loom_ring`: some model in `tests/loom_ring.rs` fails without it;
//! - `// loom: loom_ring::a_name`: that one does;
//! - `// loom: none (reason)`: no model can show it, for this reason.

use anyhow::{Result, bail};

use super::sites::Site;

const WORD: &str = "// loom:";

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mark {
    Model {
        /// The name of the test file, without its ending.
        file: String,
        /// The one test; all of the file without.
        test: Option<String>,
    },
    None {
        reason: String,
    },
}

/// The number of the line, from 1, that holds the mark of `site`.
pub(super) fn line_of(lines: &[&str], site: &Site) -> Option<usize> {
    if lines[site.line - 1].contains(WORD) {
        return Some(site.line);
    }
    above(lines, site.line).or_else(|| above(lines, site.statement))
}

fn above(lines: &[&str], line: usize) -> Option<usize> {
    (1..line)
        .rev()
        .take_while(|&line| lines[line - 1].trim_start().starts_with("//"))
        .find(|&line| lines[line - 1].contains(WORD))
}

/// The lines, from 1, that hold a mark.
pub(super) fn all<'a>(lines: &'a [&str]) -> impl Iterator<Item = usize> + 'a {
    let marked = |(index, line): (usize, &&str)| line.contains(WORD).then_some(index + 1);
    lines.iter().enumerate().filter_map(marked)
}

/// Reads the mark on `line`, which [`line_of`] has found.
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
        sites.iter().map(|site| line_of(&lines, site)).collect()
    }

    #[test]
    fn a_mark_stands_beside_above_or_above_the_statement() {
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
