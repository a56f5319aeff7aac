//! What does a client ask, and what does it get?

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::host::Host;
use super::process;

/// The name whose text, asked of a real server's DNS server, is the real server's name.
pub(super) const NAME: &str = "who.lab";

/// Who answered how often, and which requests failed.
#[derive(Default, Debug, Clone, PartialEq, Eq)]
pub struct Answers {
    /// Number of answers by the name of who gave them.
    pub by_name: BTreeMap<String, u64>,
    /// What went wrong with each request that failed.
    pub failures: Vec<String>,
}

impl Answers {
    /// How many answers came from `name`.
    pub fn from(&self, name: &str) -> u64 {
        self.by_name.get(name).copied().unwrap_or(0)
    }

    /// How many answers came.
    pub fn total(&self) -> u64 {
        self.by_name.values().sum()
    }

    pub(super) fn add(&mut self, answer: Result<String>) {
        match answer {
            Ok(name) => *self.by_name.entry(name).or_default() += 1,
            Err(error) => self.failures.push(format!("{error:#}")),
        }
    }
}

/// A SHA-256 sum, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checksum(pub String);

impl Host {
    /// Ask for a page `count` times with curl, each over a new connection and from a port that was not used before: Linux may use
    /// one again at once when the server has closed, and a director then takes the new connection for the old one.
    ///
    /// # Errors
    ///
    /// curl cannot be run. A request that fails is one of [`Answers::failures`].
    pub fn curl(&self, url: &str, count: u32) -> Result<Answers> {
        let requests: Vec<String> = (0..count).map(|_| request(url, fresh_port())).collect();
        let path = self.folder().join("requests");
        std::fs::write(&path, requests.join("next\n"))
            .with_context(|| format!("cannot write {}", path.display()))?;
        let mut curl = self.command(&["curl", "--silent", "--config", &path.display().to_string()]);
        let output = process::output(&mut curl).context("cannot run curl")?;
        let mut answers = Answers::default();
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            answers.add(match line.split('\t').collect::<Vec<_>>()[..] {
                [name, "200", _] => Ok(name.to_owned()),
                _ => Err(anyhow::anyhow!("curl: {}", line.replace('\t', " ").trim())),
            });
        }
        let told = answers.total() + answers.failures.len() as u64;
        ensure!(
            told == u64::from(count),
            "curl told of {told} of {count} requests: {}",
            output.status
        );
        Ok(answers)
    }

    /// Ask a DNS server `count` times, each time from another port.
    ///
    /// # Errors
    ///
    /// The host cannot be entered. A question without an answer is one of [`Answers::failures`].
    pub fn dns(&self, server: impl Into<SocketAddr>, count: u16) -> Result<Answers> {
        self.dns_within(server, count, Duration::from_secs(2))
    }

    /// The same, giving up each question after `wait`.
    ///
    /// # Errors
    ///
    /// The host cannot be entered.
    pub fn dns_within(
        &self,
        server: impl Into<SocketAddr>,
        count: u16,
        wait: Duration,
    ) -> Result<Answers> {
        let server = server.into();
        self.inside(|| {
            let mut answers = Answers::default();
            for port in (20_000..).take(usize::from(count)) {
                answers.add(dns_question(server, Some(port), wait));
            }
            Ok(answers)
        })
    }

    /// Load a file with curl; returns its length and checksum.
    ///
    /// # Errors
    ///
    /// The file did not come whole.
    pub fn download(&self, url: &str) -> Result<Checksum> {
        let mut curl = self.command(&[
            "curl",
            "--silent",
            "--show-error",
            "--fail",
            "--max-time",
            "120",
            url,
        ]);
        curl.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut curl = process::spawn(&mut curl).context("cannot run curl")?;
        let body = curl.stdout.take().context("curl has no output")?;
        let sum = sha256(Stdio::from(body))?;
        let output = curl.wait_with_output().context("cannot wait for curl")?;
        ensure!(
            output.status.success(),
            "curl {url}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(sum)
    }

    /// Send a file with curl.
    ///
    /// # Errors
    ///
    /// The server did not take it.
    pub fn upload(&self, file: &Path, url: &str) -> Result<()> {
        let file = file.display().to_string();
        let curl = [
            "curl",
            "--silent",
            "--show-error",
            "--fail",
            "--max-time",
            "60",
            "--upload-file",
            &file,
            url,
        ];
        self.run(&curl).map(drop)
    }
}

/// What curl is told of one request.
fn request(url: &str, port: u16) -> String {
    let write_out = r"\t%{http_code}\t%{errormsg}\n";
    format!(
        "url = \"{url}\"\nlocal-port = {port}\nheader = \"Connection: close\"\nconnect-timeout = 5\nmax-time = 10\n\
         write-out = \"{write_out}\"\n"
    )
}

/// A port below those that Linux chooses.
fn fresh_port() -> u16 {
    static COUNT: AtomicU16 = AtomicU16::new(0);
    10_000 + COUNT.fetch_add(1, Ordering::Relaxed) % 22_000
}

/// The checksum of a stream.
pub(super) fn sha256(input: Stdio) -> Result<Checksum> {
    let output =
        process::output(Command::new("sha256sum").stdin(input)).context("cannot run sha256sum")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let sum = text
        .split_whitespace()
        .next()
        .context("sha256sum says nothing")?;
    Ok(Checksum(sum.to_owned()))
}

/// Ask a DNS server for the text of [`NAME`], from the given port or any.
pub(super) fn dns_question(
    server: SocketAddr,
    port: Option<u16>,
    wait: Duration,
) -> Result<String> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, port.unwrap_or(0))).context("cannot bind")?;
    socket.connect(server).context("cannot connect")?;
    socket
        .set_read_timeout(Some(wait))
        .context("cannot set a timeout")?;
    let id = port.unwrap_or(1);
    socket
        .send(&query(id))
        .with_context(|| format!("cannot ask {server}"))?;
    let mut buffer = [0; 512];
    let length = socket
        .recv(&mut buffer)
        .with_context(|| format!("no answer from {server} to port {id}"))?;
    answer(&buffer[..length], id)
}

/// A question for the text of [`NAME`].
fn query(id: u16) -> Vec<u8> {
    let mut packet = id.to_be_bytes().to_vec();
    // Recursion desired; one question.
    packet.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    packet.extend(question());
    packet
}

/// Name, type TXT, class IN.
fn question() -> Vec<u8> {
    let mut question = Vec::new();
    for label in NAME.split('.') {
        question.push(label.len() as u8);
        question.extend(label.as_bytes());
    }
    question.extend([0, 0, 16, 0, 1]);
    question
}

/// The text in an answer.
fn answer(packet: &[u8], id: u16) -> Result<String> {
    ensure!(
        packet.starts_with(&id.to_be_bytes()),
        "the answer is to another question"
    );
    ensure!(
        packet.get(3).is_some_and(|flags| flags & 0x0f == 0),
        "the DNS server refused"
    );
    // A pointer to the name, type, class, time to live and length, then the text with its own length.
    let record = packet
        .get(12 + question().len()..)
        .context("the answer is too short")?;
    let Some((&length, text)) = record.get(12..).and_then(<[u8]>::split_first) else {
        bail!("the answer has no text");
    };
    let text = text
        .get(..length.into())
        .context("the answer's text is cut off")?;
    Ok(String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_an_answer_is_read_and_others_are_refused() {
        let mut packet = query(7);
        packet[2] = 0x85;
        packet[7] = 1;
        packet.extend([0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 0, 0, 3, 2, b'r', b'1']);
        assert_eq!(answer(&packet, 7).unwrap(), "r1");
        assert!(answer(&packet, 8).is_err());
        for length in 0..packet.len() {
            assert!(answer(&packet[..length], 7).is_err());
        }
        packet[3] = 5;
        assert!(answer(&packet, 7).is_err());
    }
}
