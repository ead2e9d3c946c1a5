//! Reads commands from a person at a terminal or from a script.
//!
//! | module     | one purpose                                              |
//! |------------|----------------------------------------------------------|
//! | [`prompt`] | the loop of a person's commands                          |
//! | [`editor`] | the line editor, its history and its completion          |
//! | [`gate`]   | passes the editor one line of input, not more            |
//! | [`script`] | the loop of a script's commands                          |
//! | [`one_shot`] | one command of a shell                                 |
//! | [`ends`]   | ends what a client has started, or everything            |

pub(crate) mod editor;
mod ends;
mod gate;
pub(crate) mod one_shot;
pub(crate) mod prompt;
pub(crate) mod script;
