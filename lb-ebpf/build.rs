//! Tells the linker, which is also the compiler's back end, how to copy and clear memory.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // By default, what clears a structure is a call of a function that does it byte by byte.
    println!("cargo::rustc-link-arg-bins=--disable-expand-memcpy-in-order");
}
