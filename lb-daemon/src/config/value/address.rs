//! What can an address mean?

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Wrong, number, wrong};
use crate::core::desired::full_prefix;

/// Where a service listens: an address, the length of its prefix, a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub addr: IpAddr,
    pub prefix: u8,
    pub port: u16,
}

/// `192.0.2.1:80`, `[2001:db8::1]:80`, `10.20.0.0/16:80`, `[2001:db8::/32]:80`.
pub(crate) fn endpoint(text: &str) -> Result<Endpoint, Wrong> {
    let takes = "it takes an address and a port, such as `192.0.2.1:80`";
    let (host, port) = split_port(text, takes)?;
    let Some(port) = port else {
        return Err(wrong(
            takes,
            format!("write the port too: `{}`", with_port(host, "80")),
        ));
    };
    let (host, prefix) = match host.split_once('/') {
        Some((host, prefix)) => (host, Some(prefix)),
        None => (host, None),
    };
    let addr = address(host, takes)?;
    let longest = full_prefix(addr);
    let prefix = match prefix {
        None => longest,
        Some(prefix) => prefix_length(prefix, longest)?,
    };
    let network = mask(addr, prefix);
    if network != addr {
        return Err(wrong(
            format!("`{addr}` is not the first address of a network of {prefix} bits"),
            format!(
                "write `{}` for the network, or the address without `/{prefix}`",
                with_port(&format!("{network}/{prefix}"), &port.to_string())
            ),
        ));
    }
    Ok(Endpoint { addr, prefix, port })
}

fn prefix_length(text: &str, longest: u8) -> Result<u8, Wrong> {
    match number(text, 0..=u32::from(longest)) {
        Ok(n) => Ok(u8::try_from(n).unwrap_or(longest)),
        Err(_) => Err(wrong(
            format!("the length of a prefix is a number from 0 to {longest}"),
            "write how many leading bits of the address make the network",
        )),
    }
}

/// An address and how many of its leading bits make its network: `192.0.2.16/24`; the whole address without.
pub(crate) fn interface_address(text: &str) -> Result<(IpAddr, u8), Wrong> {
    let takes = "it takes an address with the length of its prefix, such as `192.0.2.16/24`";
    match text.split_once('/') {
        None => {
            let addr = address(text, takes)?;
            Ok((addr, full_prefix(addr)))
        }
        Some((host, prefix)) => {
            let addr = address(host, takes)?;
            Ok((addr, prefix_length(prefix, full_prefix(addr))?))
        }
    }
}

/// `192.0.2.21`, `192.0.2.21:80`, `2001:db8::21`, `[2001:db8::21]:80`.
pub(crate) fn real_address(text: &str) -> Result<(IpAddr, Option<u16>), Wrong> {
    let takes = "it takes an address, with or without a port, such as `192.0.2.21:80`";
    if let Ok(addr) = text.parse::<Ipv6Addr>() {
        return Ok((addr.into(), None));
    }
    let (host, port) = split_port(text, takes)?;
    Ok((address(host, takes)?, port))
}

/// An address alone.
pub(crate) fn plain_address(text: &str) -> Result<IpAddr, Wrong> {
    address(text, "it takes an address, such as `192.0.2.21`")
}

/// The host without its brackets, and the port.
fn split_port<'t>(text: &'t str, takes: &str) -> Result<(&'t str, Option<u16>), Wrong> {
    if text.contains("://") {
        let rest = text.rsplit("://").next().unwrap_or_default();
        return Err(wrong(
            takes,
            format!("write `{rest}` alone, and the protocol as `protocol: tcp` or `udp`"),
        ));
    }
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let Some((host, rest)) = rest.split_once(']') else {
            return Err(wrong(takes, "close the bracket: `[2001:db8::1]:80`"));
        };
        match rest.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if rest.is_empty() => (host, None),
            None => return Err(wrong(takes, "write `:` and the port after the bracket")),
        }
    } else {
        match text.split_once(':') {
            Some((_, rest)) if rest.contains(':') => {
                return Err(wrong(
                    takes,
                    "write an IPv6 address in brackets: `[2001:db8::1]:80`",
                ));
            }
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    match port {
        None => Ok((host, None)),
        Some(port) => match number(port, 0..=65_535) {
            Ok(n) => Ok((host, u16::try_from(n).ok())),
            Err(_) => Err(wrong(
                "a port is a number from 0 to 65535",
                format!("write the port's number after `{host}:`"),
            )),
        },
    }
}

fn address(host: &str, takes: &str) -> Result<IpAddr, Wrong> {
    if let Ok(addr) = host.parse::<IpAddr>() {
        return Ok(addr);
    }
    let digits = |b: u8| b.is_ascii_digit() || b == b'.';
    let hint = if host.is_empty() {
        "write an address before the port"
    } else if host.bytes().all(digits) {
        "an IPv4 address has four numbers from 0 to 255, without leading zeros"
    } else if host.contains(':') {
        "an IPv6 address has eight groups of up to four hex digits; `::` stands for zeros, once"
    } else {
        "names are not looked up: write the address itself"
    };
    Err(wrong(takes, hint))
}

/// An address with all but its leading bits zero.
pub(crate) fn mask(addr: IpAddr, prefix: u8) -> IpAddr {
    match addr {
        IpAddr::V4(a) => {
            let bits = u32::MAX.checked_shl(32 - u32::from(prefix.min(32)));
            Ipv4Addr::from(u32::from(a) & bits.unwrap_or(0)).into()
        }
        IpAddr::V6(a) => {
            let bits = u128::MAX.checked_shl(128 - u32::from(prefix.min(128)));
            Ipv6Addr::from(u128::from(a) & bits.unwrap_or(0)).into()
        }
    }
}

/// A host (perhaps with a prefix) and a port, with brackets where they are needed.
pub(crate) fn with_port(host: &str, port: &str) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = if self.prefix == full_prefix(self.addr) {
            self.addr.to_string()
        } else {
            format!("{}/{}", self.addr, self.prefix)
        };
        f.write_str(&with_port(&host, &self.port.to_string()))
    }
}
