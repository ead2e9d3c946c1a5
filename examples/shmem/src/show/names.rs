//! The names of segments and incarnations in tables.

use crate::report::IncarnationView;

/// Returns the name of a segment, or its row if it has no name.
pub(super) fn segment_name(name: &str, row: usize) -> String {
    match name {
        "" => format!("row {row}"),
        name => name.to_owned(),
    }
}

/// Returns `2.1`, partition and incarnation; `2.1!` if the incarnation is gone.
pub(super) fn incarnation(view: IncarnationView) -> String {
    let gone = if view.gone == Some(true) { "!" } else { "" };
    format!("{}.{}{gone}", view.partition, view.incarnation)
}
