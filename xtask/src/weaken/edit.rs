//! The weaker forms of an ordering.
//!
//! | found                       | tried instead                |
//! |-----------------------------|------------------------------|
//! | `Acquire`, `Release`        | `Relaxed`                    |
//! | `AcqRel`                    | `Acquire`, then `Release`    |
//! | `fence(SeqCst)`             | `fence(AcqRel)`              |
//! | `fence(AcqRel)`             | each half                    |
//! | `fence` of one half         | no fence                     |
//!
//! Each change is one step: a model that fails when both halves are removed may still miss
//! either.

use std::ops::Range;

use super::sites::{Site, Strength};

/// One change to a source text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Edit {
    /// The name to show, such as `Release → Relaxed`.
    pub(super) name: String,
    range: Range<usize>,
    replacement: String,
}

impl Edit {
    pub(super) fn apply(&self, source: &str) -> String {
        let mut changed = source.to_owned();
        changed.replace_range(self.range.clone(), &self.replacement);
        changed
    }
}

/// Returns every weaker form of `site`. A relaxed access has none, nor has a `SeqCst` access,
/// which the house style does not use.
pub(super) fn weaker(site: &Site) -> Vec<Edit> {
    match (&site.fence, site.strength) {
        (None, Strength::SeqCst) | (_, Strength::Relaxed) => Vec::new(),
        (Some(_), Strength::SeqCst) => vec![replace(site, "AcqRel")],
        (_, Strength::AcqRel) => vec![replace(site, "Acquire"), replace(site, "Release")],
        (None, _) => vec![replace(site, "Relaxed")],
        (Some(call), _) => vec![Edit {
            name: format!("{} → none", shown(site, site.strength.name())),
            range: call.clone(),
            replacement: "()".to_owned(),
        }],
    }
}

fn replace(site: &Site, weaker: &str) -> Edit {
    // A full path, since the file may not import the weaker ordering.
    let path = if site.qualified {
        ""
    } else {
        "::core::sync::atomic::Ordering::"
    };
    Edit {
        name: format!(
            "{} → {}",
            shown(site, site.strength.name()),
            shown(site, weaker)
        ),
        range: site.name.clone(),
        replacement: format!("{path}{weaker}"),
    }
}

fn shown(site: &Site, strength: &str) -> String {
    if site.fence.is_some() {
        format!("fence({strength})")
    } else {
        strength.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::sites;
    use super::*;

    fn results(source: &str) -> Vec<(String, String)> {
        let sites = sites::find(source).unwrap();
        let edits = sites.iter().flat_map(weaker);
        edits
            .map(|edit| (edit.name.clone(), edit.apply(source)))
            .collect()
    }

    fn check(source: &str, expected: &[(&str, &str)]) {
        let results = results(source);
        let results: Vec<_> = results.iter().map(|(n, t)| (&**n, &**t)).collect();
        assert_eq!(results, expected);
    }

    #[test]
    fn an_access_becomes_relaxed() {
        check(
            "fn f(a: &A) { a.load(Ordering::Acquire); }",
            &[(
                "Acquire → Relaxed",
                "fn f(a: &A) { a.load(Ordering::Relaxed); }",
            )],
        );
        check(
            "fn f(a: &A) { a.store(1, Release); }",
            &[(
                "Release → Relaxed",
                "fn f(a: &A) { a.store(1, ::core::sync::atomic::Ordering::Relaxed); }",
            )],
        );
    }

    #[test]
    fn both_halves_are_tried() {
        check(
            "fn f() { fence(Ordering::AcqRel) }",
            &[
                (
                    "fence(AcqRel) → fence(Acquire)",
                    "fn f() { fence(Ordering::Acquire) }",
                ),
                (
                    "fence(AcqRel) → fence(Release)",
                    "fn f() { fence(Ordering::Release) }",
                ),
            ],
        );
    }

    #[test]
    fn a_fence_is_weakened_or_removed() {
        check(
            "fn f() { m::fence(Ordering::SeqCst); }",
            &[(
                "fence(SeqCst) → fence(AcqRel)",
                "fn f() { m::fence(Ordering::AcqRel); }",
            )],
        );
        check(
            "fn f() { m::fence(Acquire); }",
            &[("fence(Acquire) → none", "fn f() { (); }")],
        );
    }

    #[test]
    fn a_sequentially_consistent_access_has_no_weaker_form() {
        check("fn f(a: &A) { a.load(SeqCst); }", &[]);
    }
}
