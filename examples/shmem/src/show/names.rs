//! What segments and incarnations are called.

use crate::report::IncarnationView;

/// What a segment is called: its name, or its row.
pub(super) fn called(name: &str, row: usize) -> String {
    match name {
        "" => format!("row {row}"),
        name => name.to_owned(),
    }
}

/// `2.1`, partition and incarnation; `2.1!` if that is over.
pub(super) fn incarnation(view: IncarnationView) -> String {
    let over = if view.over == Some(true) { "!" } else { "" };
    format!("{}.{}{over}", view.partition, view.incarnation)
}
