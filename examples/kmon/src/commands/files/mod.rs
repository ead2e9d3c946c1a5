//! `kmput`, `kmget`: copy files and directories to and from an instance.
//!
//! They open the local files and show the progress. The server communicates with the instance.
//!
//! | module       | one purpose                                             |
//! |--------------|---------------------------------------------------------|
//! | `upload`     | `kmput`                                                 |
//! | `download`   | `kmget`                                                 |
//! | `remote`     | the files of the instance, through the server           |
//! | `names`      | where the copies of several files go                    |
//! | `copying`    | what both have in common                                |
//! | `summary`    | what was copied                                         |

mod copying;
mod download;
mod names;
mod remote;
mod summary;
mod upload;

pub(super) use download::get;
pub(super) use upload::put;
