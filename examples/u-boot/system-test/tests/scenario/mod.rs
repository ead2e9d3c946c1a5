//! What has to hold on whichever board.

mod attach;
mod console;
mod deaths;
mod exec;
mod garbage;
mod monitor;
