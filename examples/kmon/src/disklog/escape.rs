//! Writes any bytes as text, reversibly.
//!
//! Text stays as it is, including tabs and letters beyond ASCII. Everything else becomes an escape:
//! `\\` for a backslash, `\r` for a carriage return, and `\xNN` for each byte of another control
//! character and each byte that is no UTF-8.

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends `bytes` to `text`, escaped.
pub(super) fn escape(bytes: &[u8], text: &mut Vec<u8>) {
    for chunk in bytes.utf8_chunks() {
        let mut rest = chunk.valid();
        while let Some(at) = rest.find(is_escaped) {
            let (plain, after) = rest.split_at(at);
            text.extend_from_slice(plain.as_bytes());
            let len = after.chars().next().map_or(0, char::len_utf8);
            after.as_bytes()[..len]
                .iter()
                .for_each(|&byte| put(byte, text));
            rest = &after[len..];
        }
        text.extend_from_slice(rest.as_bytes());
        chunk.invalid().iter().for_each(|&byte| put(byte, text));
    }
}

fn is_escaped(letter: char) -> bool {
    letter == '\\' || (letter.is_control() && letter != '\t')
}

fn put(byte: u8, text: &mut Vec<u8>) {
    match byte {
        b'\\' => text.extend_from_slice(b"\\\\"),
        b'\r' => text.extend_from_slice(b"\\r"),
        _ => {
            let (high, low) = (usize::from(byte >> 4), usize::from(byte & 0xf));
            text.extend_from_slice(&[b'\\', b'x', HEX[high], HEX[low]]);
        }
    }
}

/// Returns the bytes that were written as `text`; `None` if [`escape`] does not write this.
pub(super) fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.iter().position(|&byte| byte == b'\\') {
        bytes.extend_from_slice(&rest[..at]);
        let (byte, len) = escape_at(&rest[at..])?;
        bytes.push(byte);
        rest = &rest[at + len..];
    }
    bytes.extend_from_slice(rest);
    Some(bytes)
}

/// Returns how many bytes were written as `text`; `None` if [`escape`] does not write this.
pub(super) fn unescaped_len(text: &[u8]) -> Option<usize> {
    let (mut count, mut rest) = (text.len(), text);
    while let Some(at) = rest.iter().position(|&byte| byte == b'\\') {
        let (_, len) = escape_at(&rest[at..])?;
        count -= len - 1;
        rest = &rest[at + len..];
    }
    Some(count)
}

/// Returns the byte that the escape at the start of `text` means, and the escape's length.
fn escape_at(text: &[u8]) -> Option<(u8, usize)> {
    match *text.get(1)? {
        b'\\' => Some((b'\\', 2)),
        b'r' => Some((b'\r', 2)),
        b'x' => Some((digit(*text.get(2)?)? << 4 | digit(*text.get(3)?)?, 4)),
        _ => None,
    }
}

fn digit(letter: u8) -> Option<u8> {
    let value = HEX.iter().position(|&digit| digit == letter)?;
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(bytes: &[u8]) -> String {
        let mut text = Vec::new();
        escape(bytes, &mut text);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn text_stays_and_everything_else_is_escaped() {
        assert_eq!(escaped("a\tb ü 漢".as_bytes()), "a\tb ü 漢");
        assert_eq!(escaped(b"\x1b[31m\\n\r\0\x7f"), r"\x1b[31m\\n\r\x00\x7f");
        assert_eq!(escaped(b"\xff\xe6\xbc.\xc2\x9b"), r"\xff\xe6\xbc.\xc2\x9b");
    }

    #[test]
    fn every_sequence_of_bytes_is_read_back() {
        let mut state = 1_u32;
        for len in (0..300).chain([5000]) {
            let bytes: Vec<u8> = (0..len)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 24) as u8
                })
                .collect();
            let text = escaped(&bytes);
            assert_eq!(unescape(text.as_bytes()).as_ref(), Some(&bytes));
            assert_eq!(unescaped_len(text.as_bytes()), Some(len));
            assert!(
                !text
                    .chars()
                    .any(|letter| letter.is_control() && letter != '\t')
            );
        }
    }

    #[test]
    fn other_escapes_are_refused() {
        for text in ["\\", "\\n", "\\x", "\\x1", "\\x1B", "\\xg0"] {
            assert_eq!(unescape(text.as_bytes()), None, "{text}");
            assert_eq!(unescaped_len(text.as_bytes()), None, "{text}");
        }
    }
}
