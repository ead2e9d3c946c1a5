//! A fault at every store, on the heap stand-in.

mod case;
mod death;
mod every_store;
mod stall;
mod trial;

pub(crate) use every_store::run;
