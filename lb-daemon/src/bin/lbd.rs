//! `lbd`.

fn main() {}
