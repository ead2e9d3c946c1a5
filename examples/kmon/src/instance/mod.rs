//! One instance as KMON sees it: its output, its state, what is on its way to it.
//!
//! | module     | one purpose                                             |
//! |------------|---------------------------------------------------------|
//! | [`log`]    | the bounded record of what the instance printed         |
//! | [`store`]  | the file that it is kept in                             |
//! | [`modes`]  | the terminal modes that output has switched on          |
//! | [`outbox`] | the commands that wait for room in the region           |
//! | [`state`]  | how the instance is                                     |
//! | [`shared`] | what its threads and the front end both look at         |
//! | [`run`]    | the threads and the backend, from its start or its discovery |
//! | [`plan`]   | what a run is made from                                 |
//! | [`flags`]  | what the front end tells its threads                    |
//! | [`pump`]   | one turn of the receiving thread                        |
//! | [`events`] | what the events of a turn bring                         |
//! | [`kernel`] | the lines of the instance's kernel                      |
//! | [`sending`] | the sending thread                                     |
//! | [`trial`]  | when it is tried what works across the memory           |
//! | [`watch`]  | what the receiving thread remembers between its turns   |

mod events;
mod flags;
mod kernel;
pub(crate) mod log;
pub(crate) mod modes;
pub(crate) mod outbox;
pub(crate) mod plan;
mod pump;
pub(crate) mod run;
mod sending;
pub(crate) mod shared;
pub(crate) mod state;
mod store;
mod trial;
mod watch;
