//! TLS: who is trusted and who is not.

use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::*;
use crate::core::health::probe::Expect;

/// An authority of our own, and its certificate in a file.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: tempfile::NamedTempFile,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        // Two authorities of one name would be told apart by their signatures only.
        let name = format!("authority {}", fastrand::u64(..));
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), issuer.pem()).unwrap();
        Self { issuer, file }
    }

    fn path(&self) -> &Path {
        self.file.path()
    }

    /// An HTTPS server for this name, with a certificate that ends in this year.
    async fn server(&self, name: &str, until: i32, alpn: &[&[u8]]) -> SocketAddr {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        server(move |stream| {
            let acceptor = acceptor.clone();
            async move {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let _ = stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                    .await;
                let _ = stream.shutdown().await;
            }
        })
        .await
    }
}

fn https(ca: &Path, name: Option<&str>) -> Http {
    let tls = Tls {
        name: name.map(str::to_owned),
        ca: Some(ca.into()),
        verify: true,
    };
    Http {
        tls: Some(tls),
        ..http("/")
    }
}

#[tokio::test]
async fn a_certificate_must_be_signed_valid_and_for_the_name() {
    let ours = Authority::new();
    let theirs = Authority::new();
    let good = ours.server("web.example.com", 2090, &[]).await;
    wants(
        Probe::Http(https(ours.path(), Some("web.example.com")).into()),
        good,
        true,
        "status 200",
    )
    .await;
    wants(
        Probe::Http(https(ours.path(), Some("other.example.com")).into()),
        good,
        false,
        "not valid for name",
    )
    .await;
    wants(
        Probe::Http(https(ours.path(), None).into()),
        good,
        false,
        "not valid for name",
    )
    .await;
    wants(
        Probe::Http(https(theirs.path(), Some("web.example.com")).into()),
        good,
        false,
        "UnknownIssuer",
    )
    .await;
    let system = Http {
        tls: Some(Tls {
            name: Some("web.example.com".into()),
            ..Tls::default()
        }),
        ..http("/")
    };
    wants(Probe::Http(system.into()), good, false, "").await;

    let expired = ours.server("web.example.com", 2021, &[]).await;
    wants(
        Probe::Http(https(ours.path(), Some("web.example.com")).into()),
        expired,
        false,
        "expired",
    )
    .await;

    let by_host = Http {
        host: Some("web.example.com:443".into()),
        ..https(ours.path(), None)
    };
    wants(Probe::Http(by_host.into()), good, true, "status 200").await;
    let by_address = ours.server("127.0.0.1", 2090, &[]).await;
    wants(
        Probe::Http(https(ours.path(), None).into()),
        by_address,
        true,
        "status 200",
    )
    .await;
}

#[tokio::test]
async fn without_verification_anyone_is_trusted() {
    let anyone = Authority::new().server("whoever", 2021, &[]).await;
    let tls = Tls {
        verify: false,
        ..Tls::default()
    };
    wants(
        Probe::Http(
            Http {
                tls: Some(tls.clone()),
                ..http("/")
            }
            .into(),
        ),
        anyone,
        true,
        "status 200",
    )
    .await;
    let tcp = Tcp {
        tls: Some(tls),
        send: Some(b"x".to_vec()),
        expect: Some(Expect::Contains(b"HTTP/1.1".to_vec())),
    };
    wants(Probe::Tcp(tcp), anyone, true, "answered").await;
}

#[tokio::test]
async fn http_2_is_agreed_inside_tls_or_refused() {
    let ours = Authority::new();
    let probe = || Http {
        version: HttpVersion::Two,
        ..https(ours.path(), Some("web"))
    };
    let old = ours.server("web", 2090, &[b"http/1.1"]).await;
    wants(Probe::Http(probe().into()), old, false, "TLS").await;
    let silent = ours.server("web", 2090, &[]).await;
    wants(
        Probe::Http(probe().into()),
        silent,
        false,
        "does not offer HTTP/2",
    )
    .await;
}

#[tokio::test]
async fn a_ca_file_that_is_not_there_or_no_ca_is_named() {
    let at = nobody().await;
    let silent = server(|_| async {}).await;
    let missing = https(Path::new("/nonexistent/ca.pem"), None);
    wants(
        Probe::Http(missing.into()),
        silent,
        false,
        "/nonexistent/ca.pem",
    )
    .await;
    let empty = tempfile::NamedTempFile::new().unwrap();
    wants(
        Probe::Http(https(empty.path(), None).into()),
        silent,
        false,
        "no certificate",
    )
    .await;
    wants(
        Probe::Http(https(empty.path(), None).into()),
        at,
        false,
        "refused",
    )
    .await;
}

#[tokio::test]
async fn a_changed_ca_file_counts_after_a_reload() {
    let old = Authority::new();
    let new = Authority::new();
    let at = new.server("web", 2090, &[]).await;
    let prober = Prober::default();
    let check = check(Probe::Http(https(old.path(), Some("web")).into()), at);
    assert!(!prober.ask(&check).await.passed);
    std::fs::copy(new.path(), old.path()).unwrap();
    assert!(!prober.ask(&check).await.passed);
    prober.reload();
    let outcome = prober.ask(&check).await;
    assert!(outcome.passed, "{}", outcome.words);
}
