//! How is the daemon asked and told? HTTP and JSON over a Unix socket: server and client.

pub mod client;
pub mod peer;
pub mod server;
pub mod socket;
pub mod types;
