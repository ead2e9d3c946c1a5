//! Where the copies of several files go, as with `cp`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Returns the last component of `path`; `None` if it has none, as `/` and `..`.
pub(super) fn last(path: &[u8]) -> Option<&[u8]> {
    // `Path` also ignores slashes at the end.
    let name = Path::new(OsStr::from_bytes(path)).file_name()?;
    // It also ignores a dot at the end, which means the content of the directory.
    (!ends_with_dot(path)).then_some(name.as_bytes())
}

fn ends_with_dot(path: &[u8]) -> bool {
    path.trim_ascii_end()
        .split(|byte| *byte == b'/')
        .rfind(|part| !part.is_empty())
        == Some(b".")
}

/// Returns the path of `name` in `directory`.
pub(super) fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = directory.to_vec();
    if !path.is_empty() && !path.ends_with(b"/") {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

/// Returns where `from` goes: into `to` if that is a directory, else its copy gets the name `to`.
pub(super) fn target(from: &[u8], to: &[u8], to_is_directory: bool) -> Vec<u8> {
    match last(from) {
        Some(name) if to_is_directory => join(to, name),
        _ => to.to_vec(),
    }
}

/// Converts a path of the instance or of this machine.
pub(super) fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_goes_into_a_directory_or_gets_the_name() {
        for (from, to, is_directory, expected) in [
            ("a/file", "/srv", true, "/srv/file"),
            ("a/file", "/srv/", true, "/srv/file"),
            ("a/file", "/srv", false, "/srv"),
            ("dir/", "x", true, "x/dir"),
            (".", "x", true, "x"),
            ("dir/.", "x", true, "x"),
            ("..", "x", true, "x"),
            ("/", "x", true, "x"),
        ] {
            let found = target(from.as_bytes(), to.as_bytes(), is_directory);
            assert_eq!(found, expected.as_bytes(), "{from} {to}");
        }
    }
}
