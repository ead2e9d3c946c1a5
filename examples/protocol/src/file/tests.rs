//! Tests that a file is whole or absent, and that an interrupted copy continues.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::*;
use crate::transfer::{Digest, Failure};

const SOURCE: Digest = [1; 32];
const MIB: usize = 1 << 20;

fn digest(bytes: &[u8]) -> Digest {
    Sha256::digest(bytes).into()
}

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|at| ((at * at) >> 7) as u8).collect()
}

/// Begins a copy of `bytes`, writes up to `to`, and stops. Returns where it began.
fn interrupted(target: &Path, bytes: &[u8], source: &Digest, to: usize) -> u64 {
    let mut partial = Partial::open(target, bytes.len() as u64, source).unwrap();
    let (held, found) = partial.held(|| true).unwrap();
    assert_eq!(found, digest(&bytes[..held as usize]));
    partial.begin(held).unwrap();
    partial.write(&bytes[held as usize..to]).unwrap();
    held
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap().flatten();
    let names = entries.map(|entry| entry.file_name().into_string().unwrap());
    names.collect()
}

#[test]
fn an_interrupted_copy_continues_where_it_ended_and_the_target_is_whole() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("file");
    fs::write(&target, "old").unwrap();
    let bytes = content(3 * MIB);
    assert_eq!(interrupted(&target, &bytes, &SOURCE, 2 * MIB), 0);
    assert_eq!(fs::read(&target).unwrap(), b"old");
    let mut partial = Partial::open(&target, bytes.len() as u64, &SOURCE).unwrap();
    assert_eq!(partial.held(|| true).unwrap().0, 2 * MIB as u64);
    partial.begin(2 * MIB as u64).unwrap();
    partial.write(&bytes[2 * MIB..]).unwrap();
    partial.commit(&digest(&bytes), 0o4751).unwrap();
    assert_eq!(fs::read(&target).unwrap(), bytes);
    let mode = fs::metadata(&target).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o4751);
    assert_eq!(names(directory.path()), ["file"]);
}

#[test]
fn a_copy_of_another_version_begins_anew_and_removes_what_the_first_left() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("file");
    let bytes = content(2 * MIB);
    assert_eq!(interrupted(&target, &bytes, &SOURCE, 2 * MIB), 0);
    assert_eq!(interrupted(&target, &bytes, &[2; 32], MIB), 0);
    assert_eq!(names(directory.path()).len(), 1);
    assert_eq!(interrupted(&target, &bytes, &[2; 32], MIB), MIB as u64);
}

#[test]
fn a_target_that_is_whole_already_is_not_written_and_gets_its_mode() {
    use std::os::unix::fs::MetadataExt;
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("file");
    let bytes = content(MIB);
    fs::write(&target, &bytes).unwrap();
    let number = || fs::metadata(&target).unwrap().ino();
    let before = number();
    let mut partial = Partial::open(&target, bytes.len() as u64, &SOURCE).unwrap();
    assert_eq!(partial.held(|| true).unwrap(), (MIB as u64, digest(&bytes)));
    partial.begin(MIB as u64).unwrap();
    partial.commit(&digest(&bytes), 0o711).unwrap();
    assert_eq!(
        (number(), fs::read(&target).unwrap()),
        (before, bytes.clone())
    );
    assert_eq!(names(directory.path()), ["file"]);

    // One of this size with other bytes is replaced.
    let other = vec![0; MIB];
    let mut partial = Partial::open(&target, MIB as u64, &SOURCE).unwrap();
    assert_eq!(partial.held(|| true).unwrap(), (MIB as u64, digest(&bytes)));
    partial.begin(0).unwrap();
    partial.write(&other).unwrap();
    partial.commit(&digest(&other), 0o711).unwrap();
    assert!(number() != before && fs::read(&target).unwrap() == other);
}

#[test]
fn a_file_with_another_digest_never_gets_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("file");
    let bytes = content(MIB);
    let mut partial = Partial::open(&target, bytes.len() as u64, &SOURCE).unwrap();
    partial.write(&bytes).unwrap();
    let error = partial.commit(&digest(b"other"), 0o644).unwrap_err();
    assert_eq!(error.failure, Failure::Mismatch);
    assert!(names(directory.path()).is_empty());
}

#[test]
fn missing_and_surplus_bytes_are_errors() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("file");
    let mut partial = Partial::open(&target, 5, &SOURCE).unwrap();
    partial.write(b"1234").unwrap();
    assert_eq!(partial.write(b"56").unwrap_err().failure, Failure::Protocol);
    let error = partial.commit(&digest(b"1234"), 0o600).unwrap_err();
    assert!(error.reason.contains("4 of 5 bytes"), "{error}");
    assert!(names(directory.path()).is_empty(), "too short to be kept");
}

#[test]
fn a_target_that_cannot_be_a_file_is_refused_in_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let error = |target: &Path| Partial::open(target, 1, &SOURCE).err().unwrap();
    assert_eq!(error(directory.path()).failure, Failure::IsDirectory);
    assert_eq!(error(Path::new("/")).failure, Failure::IsDirectory);
    let missing = error(&directory.path().join("no/file"));
    assert_eq!(missing.failure, Failure::NotFound);
    assert!(
        missing
            .reason
            .ends_with("no/file: No such file or directory")
    );
    assert_eq!(error(Path::new("/dev/null")).failure, Failure::Other);
    let huge = Partial::open(&directory.path().join("huge"), 1 << 60, &SOURCE);
    assert_eq!(huge.err().unwrap().failure, Failure::NoSpace);
    assert!(names(directory.path()).is_empty());
}

#[test]
fn two_copies_of_one_version_do_not_write_at_the_same_time() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("file");
    let first = Partial::open(&target, 5, &SOURCE).unwrap();
    let second = Partial::open(&target, 5, &SOURCE).err().unwrap();
    assert_eq!(second.failure, Failure::Busy);
    drop(first);
    assert!(Partial::open(&target, 5, &SOURCE).is_ok());
}

#[test]
fn the_file_that_a_link_names_is_replaced_and_a_planted_link_is_not_followed() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::write(path("real"), "old").unwrap();
    symlink("real", path("link")).unwrap();
    let mut partial = Partial::open(&path("link"), 3, &SOURCE).unwrap();
    partial.write(b"new").unwrap();
    partial.commit(&digest(b"new"), 0o600).unwrap();
    assert_eq!(fs::read(path("real")).unwrap(), b"new");
    assert!(path("link").is_symlink());

    interrupted(&path("file"), &content(MIB), &SOURCE, MIB);
    let part = names(directory.path())
        .into_iter()
        .find(|name| name.ends_with(".part"));
    let part = path(&part.unwrap());
    fs::remove_file(&part).unwrap();
    symlink("real", &part).unwrap();
    assert!(Partial::open(&path("file"), MIB as u64, &SOURCE).is_err());
    assert_eq!(fs::read(path("real")).unwrap(), b"new");
}

#[test]
fn a_source_continues_only_after_the_same_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let bytes = content(MIB);
    fs::write(&path, &bytes).unwrap();
    let half = MIB as u64 / 2;
    for (offset, prefix, begins) in [
        (half, &bytes[..MIB / 2], half),
        (half, &bytes[1..], 0),
        (2 * MIB as u64, &bytes[..], 0),
        (0, b"", 0),
    ] {
        let mut source = SourceFile::open(&path).unwrap();
        let begun = source.begin(offset, &digest(prefix), || true).unwrap();
        assert_eq!(begun, begins);
        let mut buffer = vec![0; MIB];
        while source.read(&mut buffer).unwrap() > 0 {}
        assert_eq!(source.finish().unwrap(), digest(&bytes));
    }
}

#[test]
fn a_source_that_changes_while_it_is_read_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let mut buffer = vec![0; MIB];
    for shorter in [true, false] {
        fs::write(&path, content(1000)).unwrap();
        let mut source = SourceFile::open(&path).unwrap();
        source.read(&mut buffer[..10]).unwrap();
        fs::write(&path, content(if shorter { 20 } else { 2000 })).unwrap();
        let read = loop {
            match source.read(&mut buffer) {
                Ok(0) => break source.finish().map(|_| ()),
                Ok(_) => {}
                Err(error) => break Err(error),
            }
        };
        let error = read.unwrap_err();
        assert_eq!(error.failure, Failure::Changed);
        assert!(error.reason.ends_with("it changed while it was read"));
    }
}

#[test]
fn a_file_of_the_kernel_whose_size_shows_as_0_is_read() {
    let mut source = SourceFile::open(Path::new("/proc/version")).unwrap();
    let mut buffer = vec![0; 4096];
    let len = source.read(&mut buffer).unwrap();
    assert_eq!(len as u64, source.status().size);
    assert!(buffer.starts_with(b"Linux"));
    assert!(source.finish().is_ok());
}
