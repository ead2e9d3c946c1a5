//! The server: owns the instances, and answers its clients on a Unix socket.
//!
//! | module        | one purpose                                              |
//! |---------------|----------------------------------------------------------|
//! | [`run`]       | the life of a server, from its start to its end          |
//! | [`start`]     | starts the instances as the options and the file say     |
//! | [`report`]    | tells the client that starts a server how that went      |
//! | [`listen`]    | accepts connections, within bounds                       |
//! | [`routes`]    | the paths of the API, and the role that each needs       |
//! | [`openapi`]   | the description of the API                               |
//! | [`instances`] | requests about instances                                 |
//! | [`lines`]     | the lines of a log on disk                               |
//! | [`general`]   | requests about the server and its machine                |
//! | [`events`]    | the stream of notices and changes of states              |
//! | [`console`]   | a console                                                |
//! | [`writers`]   | which client writes to which console                     |
//! | [`stream`]    | the output of a console                                  |
//! | [`exec`]      | one command in an instance                               |
//! | [`files`]     | copies of files                                          |
//! | [`socket`]    | WebSockets, within bounds                                |
//! | [`request`]   | reads requests, and answers failures                     |
//! | [`rows`]      | instances as the API shows them                          |
//! | [`system`]    | this machine as the API shows it                         |
//! | [`state`]     | what requests share                                      |
//! | [`access`]    | who may do what                                          |

mod access;
mod console;
mod events;
mod exec;
mod files;
mod general;
mod instances;
mod lines;
mod listen;
mod openapi;
pub(crate) mod report;
mod request;
mod routes;
mod rows;
pub(crate) mod run;
mod socket;
mod start;
mod state;
mod stream;
mod system;
mod writers;

pub(crate) use openapi::description;
