//! What runs on a real server?

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::client::dns_question;
use super::host::Host;
use super::poll;
use super::process::Process;

/// Start nginx: `/` is a page with the host's name, below `/files/` are those of `root`, and what is put below
/// `/uploaded/` goes there.
pub(super) fn nginx(host: &Host, ports: &[u16], root: &Path) -> Result<Process> {
    let folder = host.folder();
    let listen: String = ports
        .iter()
        .map(|port| {
            format!(
                "        listen {port} backlog=4096;\n        listen [::]:{port} backlog=4096;\n"
            )
        })
        .collect();
    let configuration = format!(
        "user root;
worker_processes 1;
daemon off;
pid nginx.pid;
error_log nginx.log notice;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    default_type text/plain;
    sendfile on;
    keepalive_requests 1000000;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {{
{listen}        location = / {{ return 200 \"{name}\"; }}
        location = /healthz {{
            if (-f {sick}) {{ return 503; }}
            if (-f {slow}) {{ set $limit_rate 20; }}
            return 200 well;
        }}
        location /files/ {{ root {root}; }}
        location /uploaded/ {{ root {root}; dav_methods PUT; create_full_put_path on; client_max_body_size 1g; }}
    }}
}}
",
        name = host.name(),
        root = root.display(),
        sick = sick(host).display(),
        slow = slow(host).display(),
    );
    let path = folder.join("nginx.conf");
    fs::write(&path, configuration).with_context(|| format!("cannot write {}", path.display()))?;
    let prefix = folder.display().to_string();
    let mut nginx = host.start(
        "nginx",
        &[
            "nginx",
            "-p",
            &prefix,
            "-c",
            "nginx.conf",
            "-e",
            "nginx.log",
        ],
    )?;
    let port = *ports.first().context("nginx needs a port")?;
    poll("nginx to listen", Duration::from_secs(10), || {
        nginx.still_runs()?;
        host.inside(|| {
            Ok(TcpStream::connect(SocketAddrV4::new(
                Ipv4Addr::LOCALHOST,
                port,
            ))?)
        })
    })?;
    Ok(nginx)
}

/// While this file is there, `/healthz` of the host's nginx is status 503.
pub(super) fn sick(host: &Host) -> PathBuf {
    host.folder().join("sick")
}

/// While this file is there, `/healthz` of the host's nginx comes with 20 bytes a second.
pub(super) fn slow(host: &Host) -> PathBuf {
    host.folder().join("slow")
}

/// Start a DNS server that knows one thing: [`NAME`](super::client::NAME)'s text is the host's name.
pub(super) fn dns(host: &Host, port: u16) -> Result<Process> {
    let record = format!("--txt-record={},{}", super::client::NAME, host.name());
    let port_option = format!("--port={port}");
    let mut dnsmasq = host.start(
        &format!("dns{port}"),
        &[
            "dnsmasq",
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--no-resolv",
            "--no-hosts",
            "--user=root",
            "--pid-file",
            "--log-facility=-",
            &port_option,
            &record,
        ],
    )?;
    poll("the DNS server to answer", Duration::from_secs(10), || {
        dnsmasq.still_runs()?;
        let server = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        host.inside(|| dns_question(server.into(), None, Duration::from_millis(200)))
    })?;
    Ok(dnsmasq)
}

/// Write a file of `size` bytes that no compression shortens and no two blocks of which are the same.
pub(super) fn write_file(path: &Path, size: usize) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        for _ in 0..size.div_ceil(8) {
            // xorshift64*
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            out.write_all(&state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_be_bytes())?;
        }
        out.flush()?;
        out.get_ref().set_len(size as u64)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}
