//! The committed header is what the sources say. `SHMR_WRITE_HEADER=1` writes it.

use std::fs;
use std::path::Path;

#[test]
fn the_committed_header_is_what_the_sources_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("include/shmr.h");
    let mut made = Vec::new();
    cbindgen::generate(root)
        .expect("the sources are the header's")
        .write(&mut made);
    let made = String::from_utf8(made).unwrap();
    if std::env::var_os("SHMR_WRITE_HEADER").is_some() {
        fs::write(&path, &made).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == made,
        "include/shmr.h is not up to date: run `cargo xtask header`"
    );
}
