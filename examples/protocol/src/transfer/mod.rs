//! The records that copy files between KMON and an instance.
//!
//! Each copy is a stream of its own. KMON begins it with one of the first six requests; its last
//! report is [`Report::Done`] or [`Report::Failed`].
//!
//! | copy               | KMON sends            | the instance reports                     |
//! |--------------------|-----------------------|------------------------------------------|
//! | to the instance    | `Put`                 | `Held`: what an earlier copy left        |
//! |                    | `Start`               | `Credit`                                 |
//! |                    | `Data`...             | `Credit`...                              |
//! |                    | `Finish`              | `Done`: the file has its name            |
//! | from the instance  | `Get`                 | `Status`                                 |
//! |                    | `Start`, `Credit`...  | `Started`, `Data`..., `End`, `Done`      |
//! | a directory's list | `List`, `Credit`...   | `Started`, `Data`..., `End`, `Done`      |
//! | a status           | `Status`              | `Status`, `Done`                         |
//! | a directory        | `MakeDirectory`       | `Done`                                   |
//! | permissions        | `SetMode`             | `Done`                                   |
//!
//! - **F1** `Credit` is the position up to which the other end may send. So a receiver that is slow
//!   has a bounded number of bytes to keep, and never stops the ring for other records.
//! - **F2** `Data` has its position, so a record that is missing is an error at once.
//! - **F3** `Cancel` may be sent at any time; `Failed` follows unless the copy has ended.

//!
//! | module     | one purpose                                              |
//! |------------|----------------------------------------------------------|
//! | `request`  | KMON's records                                           |
//! | `report`   | the instance's records                                   |
//! | `types`    | what the records say of a file                           |
//! | `fields`   | reads the fields that several records have               |

mod fields;
mod report;
mod request;
#[cfg(test)]
mod tests;
mod types;

pub use fields::is_path;
pub use report::Report;
pub use request::Request;
pub use types::{
    Digest, Entry, Failure, FileKind, FileStatus, MAX_LIST, MAX_NAME, MAX_PATH, is_component,
};
