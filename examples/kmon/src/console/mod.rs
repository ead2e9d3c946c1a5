//! The console: sends the operator's input to an instance, and shows the instance's output.
//!
//! | module      | one purpose                                                |
//! |-------------|------------------------------------------------------------|
//! | [`session`] | a console on a terminal                                    |
//! | [`keyboard`] | what is typed at a console                                |
//! | [`display`] | shows output on a terminal that may be slow                |
//! | [`filter`]  | finds the escape key and `kmexitconsole` in typed input     |
//! | [`line`]    | follows the content of the typed line                      |
//! | [`script`]  | a console fed from a script                                |
//! | [`link`]    | the connection of a console                                |

mod display;
mod filter;
mod keyboard;
mod line;
mod link;
pub(crate) mod script;
pub(crate) mod session;

pub(crate) use link::Wanted;
