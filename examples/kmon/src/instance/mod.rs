//! One instance as KMON sees it: its output, its state, and the commands for it.
//!
//! | module     | one purpose                                             |
//! |------------|---------------------------------------------------------|
//! | [`log`]    | the bounded log of the instance's output                |
//! | [`store`]  | the file of that log                                    |
//! | [`logged`] | what the logs on disk are written from                  |
//! | [`modes`]  | the terminal modes that output has set                  |
//! | [`outbox`] | the commands that wait for room in the region           |
//! | [`state`]  | the states of an instance                               |
//! | [`shared`] | the data that its threads and the front end share       |
//! | [`run`]    | the threads and the backend of one run                  |
//! | [`plan`]   | the settings of a run                                   |
//! | [`flags`]  | requests of the front end to its threads                |
//! | [`pump`]   | one step of the receiving thread                        |
//! | [`events`] | handles the events of an instance                       |
//! | [`kernel`] | the lines of the instance's kernel                      |
//! | [`sending`] | the sending thread                                     |
//! | [`trial`]  | when to test what works across the memory               |
//! | [`transfer`] | copies files to and from the instance                |
//! | [`watch`]  | the state of the receiving thread between its steps     |

mod events;
mod flags;
mod kernel;
pub(crate) mod log;
pub(crate) mod logged;
pub(crate) mod modes;
pub(crate) mod outbox;
pub(crate) mod plan;
mod pump;
pub(crate) mod run;
mod sending;
pub(crate) mod shared;
pub(crate) mod state;
mod store;
pub(crate) mod transfer;
mod trial;
mod watch;
