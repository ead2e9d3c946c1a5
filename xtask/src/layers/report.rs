//! The result of the check, as text and as JSON.

use serde_json::{Value, json};

use super::graph::Import;
use super::survey::Survey;
use crate::console::Console;

pub(super) struct Report {
    survey: Survey,
}

impl Report {
    pub(super) fn new(survey: Survey) -> Self {
        Self { survey }
    }

    pub(super) fn passes(&self) -> bool {
        self.survey.circles.is_empty()
            && self.survey.upward.is_empty()
            && self.survey.unordered.is_empty()
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
        for circle in &self.survey.circles {
            lines.push(format!("circle: {}", names(circle).join(" -> ")));
            lines.extend(circle.iter().map(place));
        }
        for import in &self.survey.upward {
            lines.push(format!("upward: {} -> {}", import.from, import.to));
            lines.push(place(import));
        }
        for module in &self.survey.unordered {
            lines.push(format!(
                "no order: the table in the lib.rs of its crate lacks {module}"
            ));
        }
        lines.push(format!(
            "{} files, {} imports, {} circles, {} upward imports",
            self.survey.files.len(),
            self.survey.imports,
            self.survey.circles.len(),
            self.survey.upward.len()
        ));
        lines.join("\n")
    }

    fn document(&self) -> Value {
        let imports = |imports: &[Import]| -> Vec<_> { imports.iter().map(import_json).collect() };
        let circles: Vec<_> = self
            .survey
            .circles
            .iter()
            .map(|circle| json!({ "files": names(circle), "imports": imports(circle) }))
            .collect();
        json!({
            "files": self.survey.files.len(),
            "imports": self.survey.imports,
            "crates": self.survey.crates,
            "circles": circles,
            "upward": imports(&self.survey.upward),
            "unordered": self.survey.unordered,
        })
    }
}

/// Returns the files of a circle; the first one is also the last.
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
