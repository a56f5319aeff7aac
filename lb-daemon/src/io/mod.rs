//! One small adapter for each thing outside: BPF maps and programs, the network's state, the clock.

pub mod bpf;
pub mod net;
