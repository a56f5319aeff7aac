//! Services and real servers as they are named on the command line.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use clap::Args;

use crate::api::client::segment;
use crate::api::types::{Listener, MethodName, Protocol};
use crate::config::value::{self, Wrong, wrong};

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

/// Another scheduler for a service.
#[derive(Clone, Debug, Args)]
pub struct SchedulerArg {
    /// Another scheduler. Connections stay where they are.
    #[arg(short = 's', long, value_name = "NAME")]
    pub scheduler: Option<String>,
    /// Other options of the scheduler, all of them; an empty list takes them away.
    #[arg(
        short = 'b',
        long = "sched-flags",
        value_name = "FLAGS",
        value_delimiter = ','
    )]
    scheduler_flags: Option<Vec<String>>,
}

impl SchedulerArg {
    /// The options, if others are asked for.
    pub fn flags(&self) -> Option<Vec<String>> {
        let flags = self.scheduler_flags.as_ref()?;
        Some(
            flags
                .iter()
                .filter(|flag| !flag.is_empty())
                .cloned()
                .collect(),
        )
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
pub(crate) fn listen(text: &str) -> Result<String, Wrong> {
    let (host, port) = split_port(text);
    let port = port.map_or(Ok(0), port_number)?;
    value::endpoint(&value::with_port(host, &port.to_string())).map(|endpoint| endpoint.to_string())
}

/// `ADDRESS[:PORT]` of a real server or a client.
pub(crate) fn host(text: &str) -> Result<String, Wrong> {
    let (host, port) = split_port(text);
    let address = match port {
        None => host.to_owned(),
        Some(port) => value::with_port(host, &port_number(port)?.to_string()),
    };
    match value::real_address(&address)? {
        (ip, None) => Ok(ip.to_string()),
        (ip, Some(port)) => Ok(SocketAddr::new(ip, port).to_string()),
    }
}

/// `ADDRESS:PORT` of one end of a connection.
pub(crate) fn endpoint(text: &str) -> Result<String, Wrong> {
    let address = host(text)?;
    match address.parse::<SocketAddr>() {
        Ok(_) => Ok(address),
        Err(_) => Err(wrong(
            "it takes an address and a port",
            format!("write the port too: `{}`", value::with_port(&address, "80")),
        )),
    }
}

/// `ADDRESS[:PORT][=WEIGHT]` of a real server.
pub(crate) fn weighted(text: &str) -> Result<(String, Option<u32>), Wrong> {
    let Some((address, weight)) = text.split_once('=') else {
        return Ok((host(text)?, None));
    };
    Ok((host(address)?, Some(self::weight(weight)?)))
}

/// A weight.
pub(crate) fn weight(text: &str) -> Result<u32, Wrong> {
    value::number(text, value::WEIGHT)
}

/// `MASK`: a prefix length, or a mask such as `255.255.255.0`.
pub(crate) fn netmask(text: &str) -> Result<u8, Wrong> {
    match text.parse::<Ipv4Addr>().map(Ipv4Addr::to_bits) {
        Ok(bits) if bits.leading_ones() + bits.trailing_zeros() >= 32 => {
            value::client_mask(&bits.leading_ones().to_string())
        }
        _ => value::client_mask(text),
    }
}

/// A duration in seconds: `90` as ipvsadm takes it, or `90s`, `15m`, `1h30m`, `1d`.
pub(crate) fn seconds(text: &str) -> Result<u64, Wrong> {
    match text.parse() {
        Ok(seconds) => Ok(seconds),
        Err(_) => value::seconds(text, Duration::ZERO..=LONGEST).map(|time| time.as_secs()),
    }
}

/// Longer than anything that is timed.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Host and port, without the brackets of an IPv6 address.
fn split_port(text: &str) -> (&str, Option<&str>) {
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    match (bracketed, text.split_once(':')) {
        (Some((host, "")), _) => (host, None),
        (Some((host, rest)), _) if rest.starts_with(':') => (host, rest.get(1..)),
        // More colons: an IPv6 address alone.
        (None, Some((host, port))) if !port.contains(':') => (host, Some(port)),
        _ => (text, None),
    }
}

/// A port's number, or its name in `/etc/services`.
fn port_number(text: &str) -> Result<u16, Wrong> {
    if let Ok(port) = text.parse() {
        return Ok(port);
    }
    let named = || named_port(&std::fs::read_to_string("/etc/services").ok()?, text);
    let name = text.starts_with(|c: char| c.is_ascii_alphabetic());
    name.then(named).flatten().ok_or_else(|| {
        wrong(
            format!("`{text}` is not a port"),
            "write a number, 0 to 65535, or a name from /etc/services",
        )
    })
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
        assert!(host("10.0.0.0/8").is_err());
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
