//! Numbers, and text from the region, in printable form.

use std::fmt::Write;

/// Returns `1.5 MiB` or `512 B`.
pub(crate) fn bytes(count: u64) -> String {
    let mut value = count as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            let digits = usize::from(unit != "B" && value < 100.0);
            return format!("{value:.digits$} {unit}");
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

/// Returns `text` with a replacement for each character that would move the cursor, hide text
/// or change its direction.
pub(crate) fn printable(text: &str) -> String {
    let shown = |c: char| if is_printable(c) { c } else { '\u{fffd}' };
    text.chars().map(shown).collect()
}

/// Returns bytes as text, with escapes for what is not printable ASCII.
pub(crate) fn escaped(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// Returns two digits for each byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Returns `number` and `word`, in the plural if necessary: `1 row`, `2 rows`.
pub(crate) fn count(number: usize, word: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {word}{plural}")
}

/// Returns true unless it is a control character or a character that only formats.
fn is_printable(c: char) -> bool {
    let formats = matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
    !c.is_control() && !formats
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_cannot_move_the_cursor_or_change_its_order() {
        let hostile = "a\u{1b}[2J\n\u{202e}b\u{9b}\u{7f}";
        let shown = printable(hostile);
        assert_eq!(shown.chars().filter(|&c| c == '\u{fffd}').count(), 5);
        assert_eq!(printable("Zürich 東京"), "Zürich 東京");
    }

    #[test]
    fn numbers_have_their_units() {
        assert_eq!(bytes(512), "512 B");
        assert_eq!(bytes(1 << 20), "1.0 MiB");
        assert_eq!(bytes(u64::MAX), "16777216.0 TiB");
        assert_eq!(
            (count(1, "row"), count(0, "row")),
            ("1 row".into(), "0 rows".into())
        );
        assert_eq!(
            (hex(b"\x00z"), escaped(b"\x00z")),
            ("007a".into(), "\\x00z".into())
        );
    }
}
