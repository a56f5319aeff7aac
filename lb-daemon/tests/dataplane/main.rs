//! The data plane in the kernel: loaded, adopted, changed and taken down.
//!
//! Each test has network interfaces and a BPF file system of its own, in namespaces that end with its thread. They
//! need root and a daemon that was built with the XDP program; otherwise each says `SKIP:` and why.

#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod adopting;
mod decapsulating;
mod killing;
mod refusing;
mod running;
mod sandbox;
mod scale;
mod sweeping;
mod table;
