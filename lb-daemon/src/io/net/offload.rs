//! Which offloads an interface has switched on.

use std::ffi::c_char;
use std::io;
use std::mem::zeroed;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use serde::Serialize;

/// Offloads that matter to a program that forwards frames in the driver.
///
/// A driver joins received segments with LRO, and refuses to run XDP programs then. With transmit checksums a
/// local sender leaves the checksum to the card; on `veth` nobody finishes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Offloads {
    /// Large receive offload.
    pub lro: bool,
    /// Generic receive offload.
    pub gro: bool,
    /// TCP segmentation offload.
    pub tso: bool,
    /// Generic segmentation offload.
    pub gso: bool,
    /// Checksums are made by the card.
    pub tx_checksum: bool,
    /// Checksums are verified by the card.
    pub rx_checksum: bool,
}

/// `ETHTOOL_*` commands that read one value, from `linux/ethtool.h`.
mod command {
    pub(super) const RX_CHECKSUM: u32 = 0x14;
    pub(super) const TX_CHECKSUM: u32 = 0x16;
    pub(super) const TSO: u32 = 0x1e;
    pub(super) const GSO: u32 = 0x23;
    pub(super) const FLAGS: u32 = 0x25;
    pub(super) const GRO: u32 = 0x2b;
    /// Bit of [`FLAGS`].
    pub(super) const FLAG_LRO: u32 = 1 << 15;
}

/// `struct ethtool_value`.
#[repr(C)]
struct EthtoolValue {
    cmd: u32,
    data: u32,
}

/// Reads the offloads of an interface, in the network namespace of the calling thread.
pub fn offloads(interface: &str) -> io::Result<Offloads> {
    let fd = socket(
        AddressFamily::Inet,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    let on = |cmd| read(&fd, interface, cmd).map(|value| value != 0);
    Ok(Offloads {
        lro: read(&fd, interface, command::FLAGS)? & command::FLAG_LRO != 0,
        gro: on(command::GRO)?,
        tso: on(command::TSO)?,
        gso: on(command::GSO)?,
        tx_checksum: on(command::TX_CHECKSUM)?,
        rx_checksum: on(command::RX_CHECKSUM)?,
    })
}

fn read(fd: &OwnedFd, interface: &str, cmd: u32) -> io::Result<u32> {
    let mut value = EthtoolValue { cmd, data: 0 };
    // SAFETY: `ifreq` is plain data for which all zeroes is a value.
    let mut request: libc::ifreq = unsafe { zeroed() };
    // The last byte stays zero.
    let room = request.ifr_name.len() - 1;
    if interface.len() > room {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from as c_char;
    }
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    // SAFETY: the request names a zero-terminated interface and points to a live `ethtool_value`, which is what
    // the commands used here read and write.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), libc::SIOCETHTOOL as _, &raw mut request) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(value.data)
    }
}
