//! The console: sends the operator's input to an instance, and shows the instance's output.
//!
//! | module      | one purpose                                                |
//! |-------------|------------------------------------------------------------|
//! | [`filter`]  | finds the escape key and `kmexitconsole` in typed input     |
//! | [`line`]    | follows the content of the typed line                      |
//! | [`session`] | a console on a terminal                                    |
//! | [`script`]  | a console fed from a script                                |

pub(crate) mod filter;
mod line;
pub(crate) mod script;
pub(crate) mod session;
