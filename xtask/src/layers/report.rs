//! What the check found, for people and for programs.

use serde_json::{Value, json};

use super::graph::Import;
use super::survey::Survey;
use crate::console::Console;

/// Files whose circles are known and about to go, each with the reason. A circle is allowed
/// if all of it lies below one of these paths.
const ALLOWED: &[(&str, &str)] = &[("shmem-sync/src/", "its locks are being given guards")];

pub(super) struct Report {
    survey: Survey,
    /// The circles that count.
    circles: Vec<Vec<Import>>,
    /// For each of [`ALLOWED`] how many circles it covers.
    allowed: Vec<usize>,
}

impl Report {
    pub(super) fn new(survey: Survey) -> Self {
        let mut allowed = vec![0; ALLOWED.len()];
        let mut circles = Vec::new();
        for circle in &survey.circles {
            let covers = |path: &str| circle.iter().all(|import| import.from.starts_with(path));
            match ALLOWED.iter().position(|(path, _)| covers(path)) {
                Some(entry) => allowed[entry] += 1,
                None => circles.push(circle.clone()),
            }
        }
        Self {
            survey,
            circles,
            allowed,
        }
    }

    pub(super) fn passes(&self) -> bool {
        self.circles.is_empty() && self.survey.upward.is_empty() && self.survey.unordered.is_empty()
    }

    pub(super) fn print(&self, json: bool) {
        let text = if json {
            self.document().to_string()
        } else {
            self.text()
        };
        Console { to_stderr: false }.line(&text);
    }

    fn text(&self) -> String {
        let mut lines = Vec::new();
        for circle in &self.circles {
            lines.push(format!("circle: {}", names(circle).join(" -> ")));
            lines.extend(circle.iter().map(place));
        }
        for import in &self.survey.upward {
            lines.push(format!("upward: {} -> {}", import.from, import.to));
            lines.push(place(import));
        }
        for module in &self.survey.unordered {
            lines.push(format!(
                "no order: {module} is missing in the table of its crate's lib.rs"
            ));
        }
        for ((path, reason), count) in ALLOWED.iter().zip(&self.allowed) {
            lines.push(format!(
                "allowed: {count} circles in {path}, because {reason}"
            ));
        }
        lines.push(format!(
            "{} files, {} imports, {} circles, {} upward imports",
            self.survey.files.len(),
            self.survey.imports,
            self.circles.len(),
            self.survey.upward.len()
        ));
        lines.join("\n")
    }

    fn document(&self) -> Value {
        let imports = |imports: &[Import]| -> Vec<_> { imports.iter().map(import_json).collect() };
        let circles: Vec<_> = self
            .circles
            .iter()
            .map(|circle| json!({ "files": names(circle), "imports": imports(circle) }))
            .collect();
        let allowed: Vec<_> = ALLOWED
            .iter()
            .zip(&self.allowed)
            .map(|((path, reason), circles)| {
                json!({ "path": path, "reason": reason, "circles": circles })
            })
            .collect();
        json!({
            "files": self.survey.files.len(),
            "imports": self.survey.imports,
            "crates": self.survey.crates,
            "circles": circles,
            "upward": imports(&self.survey.upward),
            "unordered": self.survey.unordered,
            "allowed": allowed,
        })
    }
}

/// The files of a circle, the first one again at the end.
fn names(circle: &[Import]) -> Vec<&str> {
    let again = circle.first();
    let files = circle.iter().chain(again);
    files.map(|import| import.from.as_str()).collect()
}

fn place(import: &Import) -> String {
    format!("  {}:{} uses {}", import.from, import.line, import.path)
}

fn import_json(import: &Import) -> Value {
    json!({
        "from": import.from,
        "line": import.line,
        "to": import.to,
        "path": import.path,
    })
}
