//! How is the daemon asked and told? HTTP and JSON over a Unix socket: server and client.

mod body;
pub mod client;
pub mod peer;
pub mod routes;
pub mod server;
pub mod socket;
mod stream;
pub mod types;

#[cfg(test)]
mod tests;
