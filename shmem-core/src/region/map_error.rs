//! The error of mappings.

use core::fmt;
use std::borrow::ToOwned;
use std::string::{String, ToString};

use rustix::io::Errno;

/// Why memory could not be mapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapError {
    pub(super) what: String,
    pub(super) why: String,
    pub(super) hint: &'static str,
    pub(super) errno: i32,
}

impl MapError {
    /// Returns the kernel's error number.
    pub fn raw_os_error(&self) -> i32 {
        self.errno
    }

    /// Returns true if the file does not exist, is empty, or is being created: another process
    /// may be about to create it.
    pub fn is_early(&self) -> bool {
        [Errno::NOENT, Errno::NODATA, Errno::AGAIN]
            .map(Errno::raw_os_error)
            .contains(&self.errno)
    }

    pub(super) fn new(what: impl Into<String>, errno: Errno) -> Self {
        let why = std::io::Error::from(errno).to_string();
        Self {
            what: what.into(),
            // Only the text: the number adds nothing.
            why: why
                .split(" (os error")
                .next()
                .unwrap_or_default()
                .to_owned(),
            hint: match errno {
                Errno::ACCESS => "; run as a user who may access it",
                Errno::NOENT => "; check the name",
                Errno::NOMEM => "; use a smaller length",
                Errno::NOSPC => "; use a smaller length, or free some space there",
                _ => "",
            },
            errno: errno.raw_os_error(),
        }
    }
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot map {}: {}{}", self.what, self.why, self.hint)
    }
}

impl std::error::Error for MapError {}
