//! Claims that hold on every board.

mod attach;
mod console;
mod deaths;
mod exec;
mod garbage;
mod monitor;
