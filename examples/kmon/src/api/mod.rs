//! The values that the server and its clients exchange. `docs/api.md` describes them.
//!
//! | module        | values                                          |
//! |---------------|-------------------------------------------------|
//! | [`fault`]     | why a request failed                            |
//! | [`instances`] | the instances, and requests to change them      |
//! | [`lines`]     | lines of the logs on disk                       |
//! | [`reading`]   | statistics of instances                         |
//! | [`system`]    | the machine of the server                       |
//! | [`console`]   | the messages of a console                       |
//! | [`exec`]      | the messages of a command                       |
//! | [`files`]     | the messages of copies of files                 |
//! | [`notice`]    | notices and changes of states                   |

pub(crate) mod console;
pub(crate) mod exec;
pub(crate) mod fault;
pub(crate) mod files;
pub(crate) mod instances;
pub(crate) mod lines;
pub(crate) mod notice;
pub(crate) mod reading;
pub(crate) mod system;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a server offers.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub(crate) struct Version {
    /// The versions of the API, each the first part of its paths.
    pub(crate) versions: Vec<String>,
    /// The version of KMON.
    pub(crate) version: String,
    /// The server's process.
    pub(crate) pid: u32,
}

/// Ends the server.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Shutdown {
    pub(crate) instances: Fate,
}

/// What happens to the instances when the server ends.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fate {
    /// They are ended, and their files are removed.
    Halt,
    /// They continue; the next server finds them.
    Keep,
}

/// An answer without content.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
pub(crate) struct Done {}
