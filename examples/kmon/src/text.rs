//! Formats numbers, and escapes text of instances, for a person to read.

use std::iter::Peekable;
use std::str::Chars;
use std::time::Duration;

/// Formats a size, as `1.5 MiB` or `512 B`.
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

/// Formats a time, as `59s`, `3m07s`, `2h05m` or `4d03h`.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 86_400, seconds / 3600, seconds / 60) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, minutes) => format!("{minutes}m{:02}s", seconds % 60),
        (0, hours, minutes) => format!("{hours}h{:02}m", minutes % 60),
        (days, hours, _) => format!("{days}d{:02}h", hours % 24),
    }
}

/// Returns `output` without anything that moves the cursor or changes the terminal.
pub(crate) fn without_escapes(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let mut kept = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(letter) = rest.next() {
        match letter {
            '\x1b' => skip_sequence(&mut rest),
            '\n' | '\t' => kept.push(letter),
            _ if letter.is_control() => {}
            _ => kept.push(letter),
        }
    }
    kept
}

/// Returns `line` with its control characters escaped as `\n`, `\u{1b}`, so that it stays one line.
pub(crate) fn escaped(line: &str) -> String {
    let mut shown = String::with_capacity(line.len());
    for letter in line.chars() {
        if letter.is_control() {
            shown.extend(letter.escape_default());
        } else {
            shown.push(letter);
        }
    }
    shown
}

/// Returns typed text for an error message: escaped, and cut after 60 characters.
pub(crate) fn brief(typed: &str) -> String {
    const MAX: usize = 60;
    let shown = escaped(typed);
    match shown.char_indices().nth(MAX) {
        Some((cut, _)) => format!("{}...", &shown[..cut]),
        None => shown,
    }
}

/// Length of the longest string of an escape sequence that is left out, in characters. A longer or
/// unfinished string is treated as text.
const MAX_STRING: usize = 4096;

/// Skips the rest of an escape sequence after `ESC`.
fn skip_sequence(rest: &mut Peekable<Chars<'_>>) {
    match rest.next() {
        Some('[') => {
            // Parameters and intermediates, then one final character.
            while rest.next_if(|letter| matches!(letter, ' '..='?')).is_some() {}
            rest.next_if(|letter| matches!(letter, '@'..='~'));
        }
        Some(']' | 'P' | '_' | '^' | 'X') => skip_string(rest),
        Some('(' | ')') => {
            rest.next();
        }
        _ => {}
    }
}

/// Skips a string, such as a window's title, up to its end: `BEL`, or `ESC \`. Does not skip a
/// string without an end.
fn skip_string(rest: &mut Peekable<Chars<'_>>) {
    let mut after = rest.clone();
    for _ in 0..MAX_STRING {
        match after.next() {
            Some('\x07') => return *rest = after,
            Some('\x1b') if after.next_if_eq(&'\\').is_some() => return *rest = after,
            Some('\n') | None => return,
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_short() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(200 << 20), "200 MiB");
        assert_eq!(bytes(3 << 40), "3.0 TiB");
        let time = |seconds| duration(Duration::from_secs(seconds));
        assert_eq!([time(59), time(187), time(7500)], ["59s", "3m07s", "2h05m"]);
        assert_eq!(time(4 * 86_400 + 3 * 3600), "4d03h");
    }

    #[test]
    fn an_instances_output_cannot_change_the_operators_terminal() {
        let output = b"\x1b[31mred\x1b[0m\x1b]0;title\x07\x1b(B ok\r\n\x08\x1b[2J\xff.";
        assert_eq!(without_escapes(output), "red ok\n\u{fffd}.");
        assert_eq!(without_escapes(b"cut\x1b["), "cut");
    }

    #[test]
    fn an_unfinished_escape_sequence_hides_no_following_text() {
        assert_eq!(without_escapes(b"\x1b]0;title\nnext\n"), "0;title\nnext\n");
        assert_eq!(without_escapes(b"\x1bPstart of text"), "start of text");
        assert_eq!(without_escapes(b"\x1b[12\nnext"), "\nnext");
        let endless = format!("\x1b]{}\x07end", "x".repeat(5000));
        assert!(without_escapes(endless.as_bytes()).ends_with("xxxend"));
    }

    #[test]
    fn typed_text_in_an_error_is_short_and_has_no_control_characters() {
        assert_eq!(brief("a\x1b[2J\r\u{9b}ü"), "a\\u{1b}[2J\\r\\u{9b}ü");
        assert_eq!(brief(&"ü".repeat(60)), "ü".repeat(60));
        assert_eq!(brief(&"ü".repeat(61)), "ü".repeat(60) + "...");
    }
}
