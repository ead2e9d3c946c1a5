//! The tables of docs/layout.md, as C definitions.

use crate::{read, Outcome};

/// A row of a table.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) table: String,
    pub(crate) name: String,
    pub(crate) offset: usize,
}

impl Field {
    pub(crate) fn identifier(&self) -> String {
        format!("{}_{}", self.table, self.name)
    }
}

/// Returns the fields of every table that has offsets.
pub(crate) fn fields() -> Vec<Field> {
    let page = read("../docs/layout.md");
    let mut fields = Vec::new();
    let mut table = String::new();
    for line in page.lines() {
        if let Some(title) = line.strip_prefix("### ") {
            table = title.split_whitespace().next().unwrap_or("").to_owned();
        } else if line.starts_with('#') {
            table.clear(); // The tables of this section have no offsets.
        } else if line.starts_with("| offset in record ") {
            table = "Record".to_owned();
        }
        if !table.is_empty() {
            fields.extend(field(&table, line));
        }
    }
    fields
}

fn field(table: &str, line: &str) -> Option<Field> {
    let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
    let offset = cells.next()?.parse().ok()?;
    let name = cells.nth(1)?.trim_matches('`');
    Some(Field {
        table: table.to_owned(),
        name: name.to_owned(),
        offset,
    })
}

/// Returns the number that follows `words` on the page.
fn number_after(page: &str, words: &str) -> Outcome<usize> {
    let rest = page.split_once(words).map(|(_, rest)| rest);
    let digits = rest.map(|rest| {
        rest.split(|letter: char| !letter.is_ascii_digit())
            .next()
            .unwrap_or("")
    });
    let number = digits.and_then(|digits| digits.parse().ok());
    number.ok_or_else(|| format!("docs/layout.md has no number after {words:?}").into())
}

/// Returns layout.h, which tests/c/layout.c includes.
pub(crate) fn as_c() -> Outcome<String> {
    let page = read("../docs/layout.md");
    let mut text = String::from("/* Generated from the tables of docs/layout.md. */\n");
    let mut define = |name: &str, value: usize| {
        text.push_str(&format!("#define {name} {value}\n"));
    };
    define(
        "LAYOUT_VERSION",
        number_after(&page, "# Memory layout, version ")?,
    );
    define(
        "RegistryHeader",
        number_after(&page, "### RegistryHeader (at ")?,
    );
    define("RING_DATA", number_after(&page, "The data follows at ")?);
    for field in fields() {
        define(&field.identifier(), field.offset);
    }
    Ok(text)
}

/// The table of an object that the C interface does not have.
const NOT_IN_C: &str = "TypedRingControl";

/// Checks that the C program checks every control word on the page.
pub(crate) fn nothing_is_missing() -> Outcome {
    let program = read("tests/c/layout.c");
    let fields = fields();
    crate::ensure(fields.len() > 50, || {
        format!("only {} fields", fields.len())
    })?;
    let missing: Vec<_> = fields
        .iter()
        .filter(|field| !field.name.ends_with("reserved") && field.table != NOT_IN_C)
        .map(Field::identifier)
        .filter(|name| !program.contains(name))
        .collect();
    crate::ensure(missing.is_empty(), || {
        format!("tests/c/layout.c does not check {}", missing.join(", "))
    })
}
