//! Packets that IPVS was given and what it made of them, read from `golden/*.txt`; the head of each file describes the form.

use std::path::Path;

use anyhow::{Context, Result, bail};

/// A file of recorded packets.
#[derive(Debug)]
pub struct Golden {
    /// Its cases, in order: connections last from one to the next.
    pub cases: Vec<Case>,
}

/// Packets that belong together.
#[derive(Debug)]
pub struct Case {
    /// What it is about.
    pub name: String,
    /// How the service is from this case on, where that changes.
    pub service: Option<String>,
    /// The packets, in order.
    pub steps: Vec<Step>,
}

/// A packet and what becomes of it.
#[derive(Debug)]
pub struct Step {
    /// Who sends it.
    pub from: Host,
    /// The packet, from its IP header on.
    pub packet: Vec<u8>,
    /// What is to become of it here.
    pub expected: Event,
    /// Why that differs from what IPVS did, where it does.
    pub reason: Option<String>,
}

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It is left to the stack, unchanged.
    Stack,
    /// This frame is sent, towards this host.
    Sent(Host, Vec<u8>),
}

/// Who sends or sees a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// The client.
    Client,
    /// The real server.
    Real,
}

impl Host {
    /// Its MAC.
    pub const fn mac(self) -> [u8; 6] {
        match self {
            Self::Client => [2, 0, 0, 0, 0, 0xc1],
            Self::Real => [2, 0, 0, 0, 1, 1],
        }
    }

    /// The MAC of the director's interface on its side.
    pub const fn director(self) -> [u8; 6] {
        match self {
            Self::Client => [2, 0, 0, 0, 0, 0xd1],
            Self::Real => [2, 0, 0, 0, 0, 0xd2],
        }
    }
}

/// The frame in which a host sends a packet to the director.
pub fn frame_of(from: Host, packet: &[u8]) -> Vec<u8> {
    let ethertype = match packet.first() {
        Some(first) if first >> 4 == 6 => [0x86, 0xdd],
        _ => [8, 0],
    };
    [&from.director()[..], &from.mac(), &ethertype, packet].concat()
}

/// Whether two frames are the same, whatever counter of the sending host the identification of a packet is that it made itself, or
/// hash of it the flow label.
pub fn same(one: &[u8], other: &[u8]) -> bool {
    without_ident(one) == without_ident(other)
}

/// A frame without the identification of an ICMP error, and of a tunnel packet that may be fragmented, and without the
/// header checksum, which follows it. (That it holds is checked apart.) Of an ICMPv6 error, without the flow label.
fn without_ident(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    if frame.get(12..14) == Some(&[0x86, 0xdd]) {
        if let Some(ip) = frame.get_mut(14..54)
            && ip[6] == 58
        {
            ip[1] &= 0xf0;
            ip[2..4].fill(0);
        }
    } else if let Some(ip) = frame.get_mut(14..34) {
        let is_error = ip[9] == 1 && ip[1] == 0xc0;
        let is_tunnel = ip[9] == 4 && ip[6] & 0x40 == 0;
        if is_error || is_tunnel {
            ip[4..6].fill(0);
            ip[10..12].fill(0);
        }
    }
    frame
}

impl Golden {
    /// Reads a file of `tests/golden`.
    ///
    /// # Errors
    ///
    /// It cannot be read, or a line is not of the form.
    pub fn read(name: &str) -> Result<Self> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("golden")
            .join(name);
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let mut cases: Vec<Case> = Vec::new();
        let mut service = None;
        for (number, line) in (1..).zip(text.lines()) {
            read_line(line, &mut cases, &mut service)
                .with_context(|| format!("{name}:{number}: {line}"))?;
        }
        Ok(Self { cases })
    }
}

fn read_line(line: &str, cases: &mut Vec<Case>, service: &mut Option<String>) -> Result<()> {
    let (line, is_ours) = match line.strip_prefix("  ") {
        Some(line) => (line, true),
        None => (line, false),
    };
    if line.is_empty() || line.starts_with('#') {
        return Ok(());
    }
    if let Some(words) = line.strip_prefix("@ ") {
        *service = Some(words.to_owned());
        return Ok(());
    }
    if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
        cases.push(Case {
            name: name.to_owned(),
            service: service.take(),
            steps: Vec::new(),
        });
        return Ok(());
    }
    let steps = &mut cases.last_mut().context("no case before it")?.steps;
    if let Some((from, packet)) = line.split_once(" sends ") {
        steps.push(Step {
            from: host(from)?,
            packet: bytes(packet)?,
            expected: Event::Stack,
            reason: None,
        });
        return Ok(());
    }
    let step = steps.last_mut().context("no packet before it")?;
    if let Some(reason) = line.strip_prefix("ours: ") {
        step.reason = Some(reason.to_owned());
    } else if line == "the stack's" || is_ours && line == "stack" {
        step.expected = Event::Stack;
    } else if let Some((at, frame)) = line.split_once(" sees ") {
        // Of the fragments that IPVS makes of one packet the first stands for all: each such case has ours below.
        if step.expected == Event::Stack || is_ours {
            step.expected = Event::Sent(host(at)?, bytes(frame)?);
        }
    } else {
        bail!("not of the form");
    }
    Ok(())
}

fn host(name: &str) -> Result<Host> {
    match name {
        "client" => Ok(Host::Client),
        "real" => Ok(Host::Real),
        _ => bail!("`{name}` is neither client nor real"),
    }
}

/// Bytes in hexadecimal with spaces between; `61*40` is 40 bytes of 61.
fn bytes(text: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for word in text.split_whitespace() {
        if let Some((byte, times)) = word.split_once('*') {
            let byte = u8::from_str_radix(byte, 16)?;
            bytes.extend(std::iter::repeat_n(byte, times.parse()?));
            continue;
        }
        for at in (0..word.len()).step_by(2) {
            let byte = word.get(at..at + 2).context("half a byte")?;
            bytes.push(u8::from_str_radix(byte, 16)?);
        }
    }
    Ok(bytes)
}
