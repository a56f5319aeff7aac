//! Puts the compiled XDP programs into the daemon.
//!
//! `cargo xtask build` compiles them first. Without them the daemon builds too, for everybody who works on something
//! else, and says so when it is started.

use std::hash::{DefaultHasher, Hasher};
use std::path::PathBuf;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rustc-check-cfg=cfg(xdp_object)");
    println!("cargo::rerun-if-env-changed=LB_XDP_OBJECT");
    let object = env::var_os("LB_XDP_OBJECT").map_or_else(built, PathBuf::from);
    // The edition that logs packets.
    let logging = object.with_file_name("lb_log");
    for object in [&object, &logging] {
        println!("cargo::rerun-if-changed={}", object.display());
    }
    let mut digest = DefaultHasher::new();
    if object.exists() && logging.exists() {
        let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
        fs::copy(&object, out.join("lb.o"))?;
        fs::copy(&logging, out.join("lb_log.o"))?;
        digest.write(&fs::read(out.join("lb.o"))?);
        println!("cargo::rustc-cfg=xdp_object");
    }
    // At each start of the daemon it would take longer than the rest of an adoption.
    println!("cargo::rustc-env=LB_XDP_DIGEST={}", digest.finish());
    Ok(())
}

/// Where `cargo xtask build` leaves the object.
fn built() -> PathBuf {
    let workspace = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("..");
    let target =
        env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from);
    target.join("bpf/bpfel-unknown-none/bpf/lb")
}
