//! Why memory could not be mapped.

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
    /// The kernel's number of the error.
    pub fn raw_os_error(&self) -> i32 {
        self.errno
    }

    /// Whether this is because the file is not there, is empty, or is being made: another
    /// process may be about to make it.
    pub fn is_early(&self) -> bool {
        [Errno::NOENT, Errno::NODATA, Errno::AGAIN]
            .map(Errno::raw_os_error)
            .contains(&self.errno)
    }

    pub(super) fn new(what: impl Into<String>, errno: Errno) -> Self {
        let why = std::io::Error::from(errno).to_string();
        Self {
            what: what.into(),
            // The text alone: its number says nothing more.
            why: why
                .split(" (os error")
                .next()
                .unwrap_or_default()
                .to_owned(),
            hint: match errno {
                Errno::ACCESS => "; run with the right to it",
                Errno::NOENT => "; check the name",
                Errno::NOMEM => "; ask for less",
                Errno::NOSPC => "; ask for less, or make room there",
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
