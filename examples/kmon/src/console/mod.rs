//! The console: what the operator types goes to an instance, what the instance
//! prints goes to the operator.
//!
//! | module      | one purpose                                                |
//! |-------------|------------------------------------------------------------|
//! | [`filter`]  | finds the escape key and `kmexitconsole` in what is typed   |
//! | [`line`]    | what is on the line that is typed                          |
//! | [`session`] | a console on a terminal                                    |
//! | [`script`]  | a console fed from a script                                |

pub(crate) mod filter;
mod line;
pub(crate) mod script;
pub(crate) mod session;
