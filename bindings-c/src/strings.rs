//! Strings stored one after another, each followed by a 0. A table of pointers would take more
//! space than the strings, because it has to be relocated.

/// Returns the number of bytes of `strings` with their zeroes.
pub(crate) const fn len(strings: &[&str]) -> usize {
    let (mut len, mut at) = (0, 0);
    while at < strings.len() {
        len += strings[at].len() + 1;
        at += 1;
    }
    len
}

/// Joins `strings`; `LEN` is their [`len`].
pub(crate) const fn join<const LEN: usize>(strings: &[&str]) -> [u8; LEN] {
    let mut all = [0; LEN];
    let (mut to, mut at) = (0, 0);
    while at < strings.len() {
        let text = strings[at].as_bytes();
        let mut byte = 0;
        while byte < text.len() {
            all[to] = text[byte];
            to += 1;
            byte += 1;
        }
        to += 1;
        at += 1;
    }
    all
}

/// Returns string `n` of the joined ones, and everything after it; empty if there are fewer.
pub(crate) fn nth(all: &'static [u8], n: usize) -> &'static [u8] {
    let mut before = n;
    let is_found = |&byte: &u8| {
        let found = before == 0;
        before = before.wrapping_sub(usize::from(byte == 0));
        found
    };
    let start = all.iter().position(is_found);
    start.map_or(&[], |start| &all[start..])
}
