//! placeholder until guards land
fn main() {}
