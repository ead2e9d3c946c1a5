//! Where commands come from: a person at a terminal or a script.
//!
//! | module     | one purpose                                              |
//! |------------|----------------------------------------------------------|
//! | [`prompt`] | the loop of a person's commands                          |
//! | [`editor`] | the line editor, its history and its completion          |
//! | [`gate`]   | gives the editor one line of what is typed, not more     |
//! | [`script`] | the loop of a script's commands                          |

pub(crate) mod editor;
mod gate;
pub(crate) mod prompt;
pub(crate) mod script;
