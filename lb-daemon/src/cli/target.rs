//! Services and real servers as they are named on the command line.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use clap::Args;

use crate::api::client::segment;
use crate::api::types::{Listener, MethodName, Protocol};

/// Which service: the one with this address, or with this name.
#[derive(Clone, Debug, Args)]
#[command(mut_group("which service", |group| group.required(true)))]
pub struct ServiceArg {
    #[command(flatten)]
    names: ServiceNames,
}

/// Which service, if not all.
#[derive(Clone, Debug, Args)]
pub struct OptionalService {
    #[command(flatten)]
    names: ServiceNames,
}

#[derive(Clone, Debug, Args)]
#[group(id = "which service", multiple = false)]
struct ServiceNames {
    /// The TCP service with this address.
    #[arg(short = 't', long = "tcp-service", value_name = "VIP[:PORT]", value_parser = listen)]
    tcp_service: Option<String>,
    /// The UDP service with this address.
    #[arg(short = 'u', long = "udp-service", value_name = "VIP[:PORT]", value_parser = listen)]
    udp_service: Option<String>,
    /// The service with this name.
    #[arg(long = "service", value_name = "NAME")]
    service_name: Option<String>,
}

impl ServiceNames {
    fn reference(&self) -> Option<String> {
        match (&self.tcp_service, &self.udp_service, &self.service_name) {
            (Some(address), _, _) => Some(format!("tcp:{address}")),
            (_, Some(address), _) => Some(format!("udp:{address}")),
            (_, _, name) => name.clone(),
        }
    }
}

impl ServiceArg {
    /// As the API names it: `tcp:ADDRESS:PORT`, or its name.
    pub fn reference(&self) -> String {
        self.names.reference().unwrap_or_default()
    }

    /// Its path in the API.
    pub fn path(&self) -> String {
        format!("/v1/services/{}", segment(&self.reference()))
    }
}

impl OptionalService {
    /// As the API names it, if one was named.
    pub fn reference(&self) -> Option<String> {
        self.names.reference()
    }
}

/// What a new service listens on.
#[derive(Clone, Debug, Args)]
#[group(id = "listeners", required = true, multiple = true)]
pub struct Listeners {
    /// TCP, on this address; no port: all ports. Again for another address of the same service.
    #[arg(short = 't', long = "tcp-service", value_name = "VIP[:PORT]", value_parser = listen)]
    tcp: Vec<String>,
    /// UDP, on this address; no port: all ports. Again for another address of the same service.
    #[arg(short = 'u', long = "udp-service", value_name = "VIP[:PORT]", value_parser = listen)]
    udp: Vec<String>,
}

impl Listeners {
    /// All of them, TCP first.
    pub fn all(&self) -> Vec<Listener> {
        let of = |protocol| {
            move |address: &String| Listener {
                protocol,
                address: address.clone(),
            }
        };
        self.tcp
            .iter()
            .map(of(Protocol::Tcp))
            .chain(self.udp.iter().map(of(Protocol::Udp)))
            .collect()
    }
}

/// How packets reach a real server.
#[derive(Clone, Copy, Debug, Args)]
#[group(id = "method", required = false, multiple = false)]
pub struct MethodArg {
    /// Direct routing: the real server is on a network of the director.
    #[arg(short = 'g', long = "dr", visible_alias = "gatewaying")]
    dr: bool,
    /// IP-in-IP tunnel: the real server may be anywhere.
    #[arg(short = 'i', long = "tun", visible_alias = "ipip")]
    tun: bool,
    /// Network address translation: the real server's way back leads through the director.
    #[arg(short = 'm', long = "nat", visible_alias = "masquerading")]
    nat: bool,
}

impl MethodArg {
    /// The method, if one was named.
    pub fn method(self) -> Option<MethodName> {
        match (self.dr, self.tun, self.nat) {
            (true, _, _) => Some(MethodName::Dr),
            (_, true, _) => Some(MethodName::Tun),
            (_, _, true) => Some(MethodName::Nat),
            _ => None,
        }
    }
}

/// `ADDRESS[:PORT]` of a service: without a port it is for all ports, as with ipvsadm.
pub fn listen(text: &str) -> Result<String, String> {
    Ok(Address::parse(text)?.with_default_port(0))
}

/// `ADDRESS[:PORT]` of a real server or a client.
pub fn host(text: &str) -> Result<String, String> {
    let address = Address::parse(text)?;
    if address.prefix.is_some() {
        return Err(format!(
            "`{text}` is a network; name one address, such as 192.0.2.1:80"
        ));
    }
    Ok(address.to_string())
}

/// `MASK`: a prefix length, or a mask such as `255.255.255.0`.
pub fn netmask(text: &str) -> Result<u8, String> {
    if let Ok(mask) = text.parse::<Ipv4Addr>() {
        let bits = mask.to_bits();
        if bits.count_zeros() != bits.trailing_zeros() {
            return Err("its one bits must come first, as in 255.255.255.0".to_owned());
        }
        return u8::try_from(bits.count_ones()).map_err(|err| err.to_string());
    }
    match text.parse::<u8>() {
        Ok(prefix) if prefix <= 128 => Ok(prefix),
        _ => Err(
            "write a prefix length, 0 to 32 (128 with IPv6), or a mask such as 255.255.255.0"
                .to_owned(),
        ),
    }
}

/// `90`, `90s`, `15m`, `2h`, `1d`: in seconds.
pub fn seconds(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" | "min" => 60,
        "h" => 3_600,
        "d" => 86_400,
        other => return Err(format!("`{other}` is no unit of time; use s, m, h or d")),
    };
    let number: u64 = digits
        .parse()
        .map_err(|_| "write a number of seconds, or 15m, 2h, 1d".to_owned())?;
    number
        .checked_mul(unit)
        .ok_or_else(|| "that is too long".to_owned())
}

/// An address in its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Address {
    ip: IpAddr,
    prefix: Option<u8>,
    port: Option<u16>,
}

impl Address {
    fn parse(text: &str) -> Result<Self, String> {
        let (host, port) = split_port(text)?;
        let port = port.map(parse_port).transpose()?;
        let (ip, prefix) = match host.split_once('/') {
            Some((ip, prefix)) => (ip, Some(prefix)),
            None => (host, None),
        };
        let ip: IpAddr = ip.parse().map_err(|_| {
            format!("`{ip}` is not an IP address (names are not looked up); write ADDRESS:PORT, such as 192.0.2.1:80")
        })?;
        let longest = if ip.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix.map(str::parse::<u8>) {
            None => None,
            Some(Ok(prefix)) if prefix <= longest => {
                Some(prefix).filter(|prefix| *prefix != longest)
            }
            Some(_) => {
                return Err(format!(
                    "after the slash belongs a prefix length, 0 to {longest}"
                ));
            }
        };
        Ok(Self { ip, prefix, port })
    }

    fn with_default_port(self, port: u16) -> String {
        Self {
            port: self.port.or(Some(port)),
            ..self
        }
        .to_string()
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let prefix = self
            .prefix
            .map(|prefix| format!("/{prefix}"))
            .unwrap_or_default();
        match (self.ip, self.port) {
            (IpAddr::V6(ip), Some(port)) => write!(f, "[{ip}{prefix}]:{port}"),
            (ip, Some(port)) => write!(f, "{ip}{prefix}:{port}"),
            (ip, None) => write!(f, "{ip}{prefix}"),
        }
    }
}

/// Parts host and port: `host`, `host:port`, `[v6]`, `[v6]:port`, and a bare IPv6 address.
fn split_port(text: &str) -> Result<(&str, Option<&str>), String> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or("a `]` is missing")?;
        return match after.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if after.is_empty() => Ok((host, None)),
            None => Err(format!("`{after}` after the bracket is not a port")),
        };
    }
    let bare_v6 = text
        .split('/')
        .next()
        .is_some_and(|host| host.parse::<Ipv6Addr>().is_ok());
    match text.rsplit_once(':') {
        Some((host, port)) if !bare_v6 => Ok((host, Some(port))),
        _ => Ok((text, None)),
    }
}

/// A port's number, or its name in `/etc/services`.
fn parse_port(text: &str) -> Result<u16, String> {
    if let Ok(port) = text.parse() {
        return Ok(port);
    }
    let unknown = || {
        format!("`{text}` is not a port; write a number, 0 to 65535, or a name from /etc/services")
    };
    if text.is_empty() || text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(unknown());
    }
    let names = std::fs::read_to_string("/etc/services").map_err(|_| unknown())?;
    named_port(&names, text).ok_or_else(unknown)
}

fn named_port(services: &str, wanted: &str) -> Option<u16> {
    services.lines().find_map(|line| {
        let mut words = line.split('#').next()?.split_whitespace();
        let name = words.next()?;
        let port = words.next()?.split('/').next()?;
        let found = name == wanted || words.any(|alias| alias == wanted);
        found.then(|| port.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_operators_write_them() {
        for (text, listener) in [
            ("192.0.2.1:80", "192.0.2.1:80"),
            ("192.0.2.1", "192.0.2.1:0"),
            ("10.20.0.0/16:80", "10.20.0.0/16:80"),
            ("192.0.2.1/32:80", "192.0.2.1:80"),
            ("[2001:db8::1]:80", "[2001:db8::1]:80"),
            ("[2001:db8::1]", "[2001:db8::1]:0"),
            ("2001:db8::1", "[2001:db8::1]:0"),
            ("[2001:db8::/32]:443", "[2001:db8::/32]:443"),
        ] {
            assert_eq!(listen(text).as_deref(), Ok(listener), "{text}");
        }
        assert_eq!(host("192.0.2.1").as_deref(), Ok("192.0.2.1"));
        assert_eq!(host("2001:db8::1").as_deref(), Ok("2001:db8::1"));
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_right_form() {
        for text in [
            "",
            "web.example",
            "192.0.2.300:80",
            "192.0.2.1:99999",
            "192.0.2.1:",
            "[2001:db8::1",
            "10.0.0.0/33:80",
            "[::1]80",
        ] {
            assert!(listen(text).is_err(), "{text}");
        }
        assert!(host("10.0.0.0/8").unwrap_err().contains("network"));
    }

    #[test]
    fn ports_have_the_names_of_the_services_file() {
        let file = "# comment\nhttp\t80/tcp\twww # World Wide Web\ndomain 53/udp\n";
        assert_eq!(named_port(file, "http"), Some(80));
        assert_eq!(named_port(file, "www"), Some(80));
        assert_eq!(named_port(file, "World"), None);
        assert_eq!(named_port(file, "domain"), Some(53));
    }

    #[test]
    fn masks_and_times_have_two_spellings() {
        assert_eq!(netmask("24"), Ok(24));
        assert_eq!(netmask("255.255.255.0"), Ok(24));
        assert_eq!(netmask("0.0.0.0"), Ok(0));
        assert!(netmask("255.0.255.0").is_err());
        assert!(netmask("129").is_err());
        assert_eq!(seconds("90"), Ok(90));
        assert_eq!(seconds("15m"), Ok(900));
        assert_eq!(seconds("1d"), Ok(86_400));
        assert!(seconds("5 parsecs").is_err());
        assert!(seconds("m").is_err());
        assert!(seconds("99999999999999999999").is_err());
    }
}
