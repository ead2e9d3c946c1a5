//! The text that floods a console.

/// Bytes of one line.
const LINE: usize = 64;

/// Returns the first `len` bytes of numbered lines, which all differ.
pub(crate) fn numbered_lines(len: usize) -> Vec<u8> {
    let mut text = String::with_capacity(len + LINE);
    for number in 0..len.div_ceil(LINE) {
        text += &format!("{number:>12} the quick brown fox jumps over the lazy dog 012345\n");
    }
    debug_assert_eq!(text.len() % LINE, 0);
    let mut text = text.into_bytes();
    text.truncate(len);
    text
}
