//! Checks what the manifests declare for publication.

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::console::Console;
use crate::workspace::{LIBRARIES, OLDEST_RUST};

/// The most keywords, and the most categories, that crates.io accepts.
const MOST: usize = 5;
/// The longest keyword that crates.io accepts.
const LONGEST: usize = 20;

/// Checks the packages of `cargo metadata`.
pub(super) fn check(metadata: &Value) -> Result<()> {
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let problems: Vec<_> = packages.flat_map(problems).collect();
    ensure!(problems.is_empty(), "{}", problems.join("\n"));
    let console = Console { to_stderr: false };
    console.line("the manifests of the libraries are complete, and nothing else is published");
    Ok(())
}

fn problems(package: &Value) -> Vec<String> {
    let name = package["name"].as_str().unwrap_or_default();
    let problems = if LIBRARIES.contains(&name) {
        problems_of_library(package)
    } else if package["publish"].as_array().is_some_and(Vec::is_empty) {
        Vec::new()
    } else {
        vec!["has no `publish = false`".to_owned()]
    };
    let with_name = |problem| format!("{name}: {problem}");
    problems.into_iter().map(with_name).collect()
}

fn problems_of_library(package: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    for key in ["description", "license", "readme"] {
        if package[key].as_str().is_none_or(str::is_empty) {
            problems.push(format!("has no `{key}`"));
        }
    }
    for key in ["keywords", "categories"] {
        let count = package[key].as_array().map_or(0, Vec::len);
        if !(1..=MOST).contains(&count) {
            problems.push(format!("has {count} {key}, not 1 to {MOST}"));
        }
    }
    let keywords = package["keywords"].as_array().into_iter().flatten();
    for keyword in keywords.filter_map(Value::as_str) {
        if keyword.len() > LONGEST {
            problems.push(format!("`{keyword}` is longer than {LONGEST}"));
        }
    }
    if package["rust_version"] != OLDEST_RUST {
        problems.push(format!("`rust-version` is not {OLDEST_RUST}"));
    }
    if !package["publish"].is_null() {
        problems.push("is not published".to_owned());
    }
    problems
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn library() -> Value {
        json!({
            "name": "shmem-core", "description": "Rings", "license": "MIT", "readme": "README.md",
            "keywords": ["ipc"], "categories": ["os"], "rust_version": OLDEST_RUST, "publish": null,
        })
    }

    #[test]
    fn a_library_says_what_a_registry_asks_for() {
        assert_eq!(problems(&library()), [""; 0]);
        let mut package = library();
        package["description"] = Value::Null;
        package["keywords"] = json!(["shared-memory-and-more"]);
        package["categories"] = json!([]);
        package["rust_version"] = json!("1.95");
        package["publish"] = json!([]);
        assert_eq!(
            problems(&package),
            [
                "shmem-core: has no `description`",
                "shmem-core: has 0 categories, not 1 to 5",
                "shmem-core: `shared-memory-and-more` is longer than 20",
                "shmem-core: `rust-version` is not 1.75",
                "shmem-core: is not published",
            ]
        );
    }

    #[test]
    fn nothing_else_is_published() {
        let other = |publish| problems(&json!({ "name": "kmon", "publish": publish }));
        assert_eq!(other(json!([])), [""; 0]);
        assert_eq!(other(Value::Null), ["kmon: has no `publish = false`"]);
    }
}
