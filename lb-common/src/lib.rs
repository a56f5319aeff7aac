//! What the kernel side and user space of the balancer agree on, and the pure rules both run.
//!
//! Everything here is `no_std` and free of I/O: the same code is compiled into the XDP programs, into
//! `lbd` and into host tests.
#![cfg_attr(not(any(test, feature = "host")), no_std)]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

pub mod abi;
pub mod atomic;
mod bound;
pub mod conn;
pub mod counter;
pub mod decap;
pub mod env;
pub mod filter;
pub mod forward;
pub mod load;
#[cfg(any(test, feature = "host"))]
pub mod model;
pub mod net;
pub mod packet;
pub mod sched;
pub mod table;
pub mod tcp;
pub mod template;
