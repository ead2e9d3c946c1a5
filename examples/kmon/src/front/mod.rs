//! Reads commands from a person at a terminal or from a script.
//!
//! | module     | one purpose                                              |
//! |------------|----------------------------------------------------------|
//! | [`prompt`] | the loop of a person's commands                          |
//! | [`editor`] | the line editor, its history and its completion          |
//! | [`gate`]   | passes the editor one line of input, not more            |
//! | [`script`] | the loop of a script's commands                          |

pub(crate) mod editor;
mod gate;
pub(crate) mod prompt;
pub(crate) mod script;
