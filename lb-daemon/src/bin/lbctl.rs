//! `lbctl`.

fn main() {}
