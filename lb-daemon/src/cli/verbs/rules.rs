//! `dump`, `restore`, `clear`: services as the lines that `ipvsadm -S` prints and `ipvsadm -R` reads.

use std::fmt::Write;
use std::io::{self, Read};

use clap::{Args, Parser};

use super::Verb;
use crate::api::client::segment;
use crate::api::types::{
    AddService, Listener, MethodName, Persistence, Problem, Protocol, Real, RealState, Service,
};
use crate::cli::render::number::plural;
use crate::cli::{Cli, Context, Failure};
use crate::config::MAX_BYTES;

/// The most that is read: a configuration of as much would not be either.
const LONGEST: u64 = MAX_BYTES as u64;

/// Prints what runs as commands.
#[derive(Clone, Debug, Args)]
pub struct Dump {
    /// Addresses and ports are numbers, as always.
    #[arg(short = 'n', long, hide = true)]
    numeric: bool,
}

impl Dump {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let services: Vec<Service> = context.client.get("/v1/services").await?;
        context.print(&services, |services| services.iter().map(lines).collect())
    }
}

/// A service and its real servers as commands that make them.
fn lines(service: &Service) -> String {
    let listeners = std::iter::once(&service.listener).chain(&service.also);
    let named: String = listeners.map(|listener| named(listener) + " ").collect();
    let mut out = format!("-A {named}-s {}", service.scheduler);
    if !service.scheduler_flags.is_empty() {
        let _ = write!(out, " -b {}", service.scheduler_flags.join(","));
    }
    if let Some(Persistence {
        timeout,
        mask,
        leave_quiesced,
    }) = service.persistence
    {
        let _ = write!(out, " -p {timeout}");
        if let Some(mask) = mask {
            let _ = write!(out, " -M {mask}");
        }
        // ipvsadm knows no such option: there it is a setting of the whole machine.
        if leave_quiesced == Some(true) {
            out.push_str(" --leave-quiesced yes");
        }
    }
    if service.one_packet {
        out.push_str(" -o");
    }
    out.push('\n');
    let first = self::named(&service.listener);
    // What was removed only forwards its last connections, and a sorry server is the configuration file's.
    let is_configured = |real: &&Real| !matches!(real.state, RealState::Removed | RealState::Sorry);
    for real in service.reals.iter().filter(is_configured) {
        let method = match real.method {
            MethodName::Dr => "-g",
            MethodName::Tun => "-i",
            MethodName::Nat => "-m",
            // Only NAT lets a port differ, also on the director itself.
            MethodName::Local if port(&real.address) == port(&service.listener.address) => "-g",
            MethodName::Local => "-m",
        };
        let Real {
            address,
            weight,
            upper,
            lower,
            ..
        } = real;
        let _ = write!(out, "-a {first} -r {address} {method} -w {weight}");
        if *upper != 0 {
            let _ = write!(out, " -x {upper}");
        }
        if *lower != 0 {
            let _ = write!(out, " -y {lower}");
        }
        out.push('\n');
    }
    out
}

fn port(address: &str) -> Option<&str> {
    address.rsplit_once(':').map(|(_, port)| port)
}

fn named(listener: &Listener) -> String {
    let option = match listener.protocol {
        Protocol::Tcp => "-t",
        Protocol::Udp => "-u",
    };
    format!("{option} {}", listener.address)
}

/// Adds the services that are read from standard input.
#[derive(Clone, Debug, Args)]
pub struct Restore {}

impl Restore {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let mut text = String::new();
        let cannot = |why: String| {
            Problem::failed("cannot read standard input")
                .why(why)
                .hint("pipe in what `ipvsadm -S -n` or `lbctl dump` prints")
        };
        let read = io::stdin()
            .lock()
            .take(LONGEST + 1)
            .read_to_string(&mut text);
        read.map_err(|err| cannot(err.to_string()))?;
        // Half of it is not to be added.
        if text.len() as u64 > LONGEST {
            return Err(cannot(format!("it is longer than {LONGEST} bytes")).into());
        }
        let (lines, services): (Vec<usize>, Vec<AddService>) = services(&text)?.into_iter().unzip();
        let added = context.client.post("/v1/restore", &services).await;
        let added: Vec<Service> = added.map_err(|problem| at_line(&lines, problem))?;
        context.print(&added, |added| {
            let reals = added.iter().map(|service| service.reals.len()).sum();
            let (services, reals) = (plural(added.len(), "service"), plural(reals, "real server"));
            format!("added {services} with {reals}\n")
        })
    }
}

/// Says which line it was, where one was refused.
fn at_line(lines: &[usize], problem: Problem) -> Problem {
    let line = problem.item.and_then(|item| lines.get(item));
    let line = line
        .map(|line| format!("line {line}: "))
        .unwrap_or_default();
    Problem {
        error: format!("{line}{}; nothing was added", problem.error),
        ..problem
    }
}

/// The services that lines of `ipvsadm -S` ask for, each with the number of its line, from 1 on.
///
/// # Errors
///
/// The first line that cannot be read, or asks for something else.
fn services(text: &str) -> Result<Vec<(usize, AddService)>, Problem> {
    let mut services: Vec<(usize, String, AddService)> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        if words.first().is_none_or(|word| word.starts_with('#')) {
            continue;
        }
        let problem = |why: String| {
            Problem::invalid(format!("line {number}: `{line}`"))
                .why(why)
                .hint("nothing was added: change this line, or take it out")
        };
        match verb(&words).map_err(problem)? {
            Verb::AddService(service) => {
                let request = service.request();
                let reference = format!("{}:{}", request.protocol.name(), request.address);
                services.push((number, reference, request));
            }
            Verb::AddReal(real) => {
                let reference = real.service();
                // Nearly always the last one.
                let mut known = services.iter_mut().rev();
                let Some((_, _, service)) = known.find(|(_, name, _)| *name == reference) else {
                    return Err(problem("no line before it adds its service".to_owned()));
                };
                service.reals.push(real.request());
            }
            _ => {
                let why = "only -A and -a, which add services and real servers, are read";
                return Err(problem(why.to_owned()));
            }
        }
    }
    Ok(services
        .into_iter()
        .map(|(number, _, service)| (number, service))
        .collect())
}

/// What a line asks for.
fn verb(words: &[&str]) -> Result<Verb, String> {
    if words
        .iter()
        .any(|word| matches!(*word, "-f" | "--fwmark-service"))
    {
        return Err(
            "there are no firewall marks: one service may have several addresses and ports \
             (-A -t VIP:80 -t VIP:443 -s wlc)"
                .to_owned(),
        );
    }
    // ipvsadm names the kind of each tunnel; another than this one is refused with the words that are left.
    let mut kept = vec!["lbctl"];
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        if *word == "--tun-type" && rest.as_slice().first() == Some(&"ipip") {
            rest.next();
        } else {
            kept.push(word);
        }
    }
    let cli = Cli::try_parse_from(kept).map_err(|err| {
        let said = err.to_string();
        let first = said.lines().next().unwrap_or_default();
        first.trim_start_matches("error: ").to_owned()
    })?;
    Ok(cli.verb)
}

/// Deletes every service.
#[derive(Clone, Debug, Args)]
pub struct Clear {
    /// Cut their connections too.
    #[arg(short = 'f', long)]
    force: bool,
}

impl Clear {
    pub(super) async fn run(self, context: &Context) -> Result<(), Failure> {
        let services: Vec<Service> = context.client.get("/v1/services").await?;
        let force = if self.force { "?force=true" } else { "" };
        let mut deleted: Vec<Service> = Vec::new();
        for service in services {
            let path = format!("/v1/services/{}{force}", segment(&service.name));
            deleted.push(context.client.delete(&path).await?);
        }
        context.print(&deleted, |deleted| {
            format!("deleted {}\n", plural(deleted.len(), "service"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As ipvsadm 1.31 prints it.
    const SAVED: &str = "\
-A -t 192.0.2.80:80 -s wlc -p 300 -M 255.255.255.0
-a -t 192.0.2.80:80 -r 192.0.2.21:80 -g -w 3
-a -t 192.0.2.80:80 -r 198.51.100.9:80 -i -w 1 --tun-type ipip
-A -u 192.0.2.80:53 -s sh -o -b sh-port

# and one by NAT
-a -u 192.0.2.80:53 -r 10.0.0.1:5353 -m -w 0 -x 100 -y 50
";

    fn refused(text: &str) -> String {
        let problem = services(text).unwrap_err();
        format!("{}: {}", problem.error, problem.why.unwrap_or_default())
    }

    #[test]
    fn what_ipvsadm_saves_is_read() {
        let services = services(SAVED).unwrap();
        let lines: Vec<usize> = services.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [1, 4]);
        let (web, dns) = (&services[0].1, &services[1].1);
        assert_eq!(web.scheduler.as_deref(), Some("wlc"));
        let persistence = web.persistence.unwrap();
        assert_eq!((persistence.timeout, persistence.mask), (300, Some(24)));
        let methods: Vec<_> = web.reals.iter().map(|real| real.method).collect();
        assert_eq!(methods, [Some(MethodName::Dr), Some(MethodName::Tun)]);
        assert_eq!(
            (dns.protocol, dns.one_packet, dns.reals.len()),
            (Protocol::Udp, true, 1)
        );
        assert_eq!(
            (dns.reals[0].weight, dns.reals[0].upper, dns.reals[0].lower),
            (Some(0), Some(100), Some(50))
        );
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_its_line() {
        for (text, line, why) in [
            ("-A -f 1 -s rr", "line 1", "firewall marks"),
            (
                "-A -t 192.0.2.80:80 -s rr\n-a -t 192.0.2.81:80 -r 192.0.2.21 -g",
                "line 2",
                "no line before it",
            ),
            ("\n-D -t 192.0.2.80:80", "line 2", "only -A and -a"),
            ("-A -t 192.0.2.300:80", "line 1", "192.0.2.300"),
            (
                "-A -t 192.0.2.80:80 -s rr\n-a -t 192.0.2.80:80 -r 192.0.2.21 -i --tun-type gue",
                "line 2",
                "--tun-type",
            ),
        ] {
            let said = refused(text);
            assert!(said.contains(line) && said.contains(why), "{text}: {said}");
        }
    }

    #[test]
    fn what_is_dumped_is_read_again() {
        let real = |address: &str, method, state| Real {
            address: address.into(),
            method,
            weight: 3,
            checked_weight: None,
            upper: 100,
            lower: 50,
            state,
            active: 7,
            inactive: 8,
            persistent: 0,
        };
        let service = Service {
            name: "web".into(),
            listener: Listener {
                protocol: Protocol::Tcp,
                address: "192.0.2.80:80".into(),
            },
            also: vec![Listener {
                protocol: Protocol::Udp,
                address: "[2001:db8::80]:80".into(),
            }],
            scheduler: "mh".into(),
            scheduler_flags: vec!["mh-port".into(), "mh-fallback".into()],
            persistence: Some(Persistence {
                timeout: 300,
                mask: Some(24),
                leave_quiesced: Some(true),
            }),
            one_packet: false,
            timeouts: crate::api::types::Timeouts {
                tcp: 900,
                tcp_fin: 120,
                udp: 300,
            },
            own_timeouts: false,
            method: MethodName::Dr,
            reals: vec![
                real("192.0.2.21:80", MethodName::Dr, RealState::Up),
                real("192.0.2.22:80", MethodName::Tun, RealState::Draining),
                real("192.0.2.23:80", MethodName::Dr, RealState::Removed),
            ],
        };
        let text = lines(&service);
        assert_eq!(
            text,
            "-A -t 192.0.2.80:80 -u [2001:db8::80]:80 -s mh -b mh-port,mh-fallback -p 300 -M 24 --leave-quiesced yes\n\
             -a -t 192.0.2.80:80 -r 192.0.2.21:80 -g -w 3 -x 100 -y 50\n\
             -a -t 192.0.2.80:80 -r 192.0.2.22:80 -i -w 3 -x 100 -y 50\n"
        );
        let read = services(&text).unwrap();
        let (_, again) = &read[0];
        assert_eq!(
            (again.also.len(), again.reals.len(), again.persistence),
            (1, 2, service.persistence)
        );
        assert_eq!(again.scheduler_flags, service.scheduler_flags);
    }
}
