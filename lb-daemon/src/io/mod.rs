//! One small adapter for each thing outside: BPF maps and programs, the network's state, the clock.

pub mod backend;
pub mod bpf;
pub mod clock;
pub mod doctor;
pub mod health;
mod hold;
pub mod lock;
pub mod net;
pub(crate) mod packet_socket;
pub mod preflight;
pub mod probe;
pub mod process;
pub mod realtime;
pub mod store;
pub mod vrrp;
