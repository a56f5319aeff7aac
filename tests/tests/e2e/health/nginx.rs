//! How is nginx run that serves what a test says?

use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use anyhow::Result;
use tests::lab::{Host, Process, poll};

use super::PATIENCE;

/// Starts nginx on a host, besides the one that is there, with these blocks `server`; it listens on this port when this returns.
pub(super) fn start(host: &Host, port: u16, servers: &str) -> Result<Process> {
    let folder = host.folder().join("nginx");
    std::fs::create_dir_all(&folder)?;
    let configuration = format!(
        "user root;
worker_processes 1;
daemon off;
pid nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    default_type text/plain;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    {servers}
}}
"
    );
    let file = folder.join("nginx.conf");
    std::fs::write(&file, configuration)?;
    let (prefix, file) = (folder.display().to_string(), file.display().to_string());
    let words = ["nginx", "-p", &prefix, "-c", &file, "-e", "stderr"];
    let mut nginx = host.start(&format!("nginx-{port}"), &words)?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    poll("nginx to listen", PATIENCE, || {
        nginx.still_runs()?;
        host.inside(|| Ok(TcpStream::connect(address)?))
    })?;
    Ok(nginx)
}
