//! How names with any bytes are shown.
#![cfg(not(loom))]

use shmem_registry::{Id, Name};

#[test]
fn names_that_differ_are_shown_differently_and_stay_on_their_line() {
    for (bytes, text) in [
        (&b"kmon.command"[..], "kmon.command"),
        ("Zürich \"東京'".as_bytes(), "Zürich \"東京'"),
        (b"a\xff", r"a\xff"),
        (b"a\xfe\xe6\x9d", r"a\xfe\xe6\x9d"),
        (b"\xffa\xe6\x9d\xb1", r"\xffa東"),
        (br"a\xff", r"a\\xff"),
        (b"\x1b[2J\n", r"\x1b[2J\x0a"),
        ("\u{202e}b\u{9b}".as_bytes(), r"\xe2\x80\xaeb\xc2\x9b"),
        ("\u{ad}".as_bytes(), r"\xc2\xad"),
    ] {
        assert_eq!(Name::new(bytes).unwrap().to_string(), text);
    }
    assert_eq!(Name::NONE.to_string(), "");
}

#[test]
fn a_name_returns_the_bytes_that_its_identifier_hashes() {
    let bytes = b"no text: \xff \xfe";
    let name = Name::new(bytes).unwrap();
    assert_eq!(name.as_bytes(), bytes);
    assert_eq!(Id::from_name(name.as_bytes()), Id::from_name(bytes));
    assert_eq!(name.as_str(), "no text: ");
    assert_eq!(Name::NONE.as_bytes(), b"");
}
