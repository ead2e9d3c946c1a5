//! One instance as KMON sees it: its output, its state, what is on its way to it.
//!
//! | module     | one purpose                                             |
//! |------------|---------------------------------------------------------|
//! | [`log`]    | the bounded record of what the instance printed         |
//! | [`modes`]  | the terminal modes that output has switched on          |
//! | [`outbox`] | the commands that wait for room in the region           |
//! | [`state`]  | how the instance is                                     |
//! | [`shared`] | what its threads and the front end both look at         |
//! | [`life`]   | the threads from start to death, and the process        |
//! | [`pump`]   | one turn of the receiving thread                        |

pub(crate) mod life;
pub(crate) mod log;
pub(crate) mod modes;
pub(crate) mod outbox;
mod pump;
pub(crate) mod shared;
pub(crate) mod state;
