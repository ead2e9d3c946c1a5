//! Compares the committed header with the sources. `SHMR_WRITE_HEADER=1` writes it.

use std::fs;
use std::path::Path;

#[test]
fn the_committed_header_matches_the_sources() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("include/shmr.h");
    let mut generated = Vec::new();
    cbindgen::generate(root)
        .expect("the sources can be converted to a header")
        .write(&mut generated);
    let generated = String::from_utf8(generated).unwrap();
    if std::env::var_os("SHMR_WRITE_HEADER").is_some() {
        fs::write(&path, &generated).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == generated,
        "include/shmr.h is not up to date: run `cargo xtask header`"
    );
}
