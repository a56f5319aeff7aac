//! The API's socket: whatever a client writes, each answer is HTTP, and the next client is served.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use lb_daemon::api::peer::Access;
use lb_daemon::api::routes::router;
use lb_daemon::api::server::{Limits, serve};
use lb_daemon::api::socket::ControlSocket;
use lb_daemon::engine::Handle;
use lb_daemon::stop;
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::runtime::Runtime;

/// For so long an answer may take.
const SOON: Duration = Duration::from_secs(10);

/// What a client writes before it stops writing. No engine is behind the routes: whoever is understood is told that the
/// daemon is stopping.
pub(super) fn take(bytes: &[u8]) {
    let mut client = UnixStream::connect(&SERVER.path).unwrap();
    client.set_read_timeout(Some(SOON)).unwrap();
    client.set_write_timeout(Some(SOON)).unwrap();
    // It may be turned away before it has said all.
    let _ = client.write_all(bytes);
    let _ = client.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    if let Err(error) = client.read_to_end(&mut answer) {
        let reset = error.kind() == std::io::ErrorKind::ConnectionReset;
        assert!(reset, "no answer, and no end: {error}");
    }
    let shown = String::from_utf8_lossy(&answer);
    assert!(
        answer.is_empty() || answer.starts_with(b"HTTP/1."),
        "{shown}"
    );
    assert!(
        !answer.starts_with(b"HTTP/1.1 500"),
        "it has failed: {shown}"
    );
}

/// A server as the daemon has it, for as long as this process runs.
struct Server {
    path: PathBuf,
    _runtime: Runtime,
    _stop: stop::Stopper,
    _socket: ControlSocket,
    _dir: TempDir,
}

static SERVER: LazyLock<Server> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lbd.sock");
    let access = Access {
        owner: nix::unistd::getuid().as_raw(),
        group: None,
        others_read: false,
    };
    let (listener, socket) = ControlSocket::bind(&path, &access).unwrap();
    let runtime = Runtime::new().unwrap();
    let listener = {
        let _inside = runtime.enter();
        UnixListener::from_std(listener).unwrap()
    };
    let (stop, stopped) = stop::channel();
    let (engine, jobs) = Handle::new();
    drop(jobs);
    let limits = Limits::default();
    runtime.spawn(serve(listener, router(engine), access, limits, stopped));
    Server {
        path,
        _runtime: runtime,
        _stop: stop,
        _socket: socket,
        _dir: dir,
    }
});
