//! What the kernel's stack has to allow for a director to do its work.

use std::fs;
use std::io;

/// Has the stack take packets from an interface whose source is an address of the director. Such are the replies of NAT
/// real servers that the program hands to the stack because it has to look for the client first.
pub(super) fn accept_local(interface: &str) -> io::Result<()> {
    let path = format!("/proc/sys/net/ipv4/conf/{interface}/accept_local");
    if fs::read_to_string(&path)?.trim() == "1" {
        return Ok(());
    }
    fs::write(&path, "1")
}
