//! Reads and writes a file that is copied; both ends use it.
//!
//! | module      | one purpose                                             |
//! |-------------|---------------------------------------------------------|
//! | `error`     | why a file cannot be read or written                    |
//! | `source`    | reads a file, and notices when it changes meanwhile     |
//! | `partial`   | writes a file under a temporary name until it is whole  |
//! | `naming`    | the temporary name, and those that earlier copies left  |

mod error;
mod naming;
mod partial;
mod source;
#[cfg(test)]
mod tests;

pub use error::FileError;
pub use partial::Partial;
pub use source::{SourceFile, digest_of, file_status};
