//! TLS to real servers, and whom to trust.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use super::Place;
use super::error::ProbeError;
use super::stream::Duplex;
use crate::core::health::probe::Tls;

/// Whom to trust, read once for each file.
#[derive(Debug, Default)]
pub(super) struct Trust {
    configs: Mutex<HashMap<Key, Arc<ClientConfig>>>,
}

/// What tells configurations apart: the file with authorities, whether to verify, the protocols inside.
type Key = (Option<PathBuf>, bool, &'static [u8]);

impl Trust {
    /// Reads files again from now on.
    pub(super) fn forget(&self) {
        self.configs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    fn config(&self, tls: &Tls, alpn: &'static [u8]) -> Result<Arc<ClientConfig>, ProbeError> {
        let key: Key = (tls.ca.clone(), tls.verify, alpn);
        if let Some(config) = self
            .configs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&key)
        {
            return Ok(config.clone());
        }
        let config = Arc::new(config(tls, alpn)?);
        self.configs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, config.clone());
        Ok(config)
    }
}

/// Shakes hands as a client of `host`.
pub(super) async fn handshake<S: Duplex>(
    to: &Place<'_>,
    tls: &Tls,
    host: &str,
    alpn: &'static [u8],
    stream: S,
) -> Result<TlsStream<S>, ProbeError> {
    let config = to.trust.config(tls, alpn)?;
    let name = tls.name.as_deref().unwrap_or(host);
    let server = ServerName::try_from(name.to_owned()).map_err(|_| {
        ProbeError::Cannot(format!(
            "`{name}` is not a name that a certificate can have"
        ))
    })?;
    to.talk.begin("shaking hands over TLS");
    to.talk.note(format!(
        "TLS to `{name}`, {}",
        if tls.verify {
            "verified"
        } else {
            "not verified"
        }
    ));
    let stream = TlsConnector::from(config)
        .connect(server, stream)
        .await
        .map_err(|error| ProbeError::Tls(words(&error)))?;
    let (_, session) = stream.get_ref();
    if let Some(version) = session.protocol_version() {
        to.talk.note(format!("{version:?} agreed"));
    }
    let agreed = session.alpn_protocol();
    if alpn == H2 && agreed != Some(H2) {
        return Err(ProbeError::Tls(
            "the server does not offer HTTP/2".to_owned(),
        ));
    }
    Ok(stream)
}

/// HTTP/1.1 inside TLS.
pub(super) const HTTP1: &[u8] = b"http/1.1";
/// HTTP/2 inside TLS.
pub(super) const H2: &[u8] = b"h2";
/// Nothing is said about what is inside.
pub(super) const ANY: &[u8] = b"";

/// What is wrong, without the layers around it.
fn words(error: &std::io::Error) -> String {
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Error>());
    inner.map_or_else(|| error.to_string(), ToString::to_string)
}

fn config(tls: &Tls, alpn: &'static [u8]) -> Result<ClientConfig, ProbeError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| ProbeError::Cannot(error.to_string()))?;
    let mut config = if tls.verify {
        builder
            .with_root_certificates(roots(tls.ca.as_deref())?)
            .with_no_client_auth()
    } else {
        let anyone = Arc::new(Anyone(provider));
        builder
            .dangerous()
            .with_custom_certificate_verifier(anyone)
            .with_no_client_auth()
    };
    if alpn != ANY {
        config.alpn_protocols = vec![alpn.to_vec()];
    }
    // Each probe shakes hands in full: a resumed session would hide a certificate that has expired.
    config.resumption = tokio_rustls::rustls::client::Resumption::disabled();
    Ok(config)
}

/// The authorities in a file, or the system's.
fn roots(ca: Option<&Path>) -> Result<RootCertStore, ProbeError> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            let cannot =
                |why: String| ProbeError::Cannot(format!("CA file {}: {why}", path.display()));
            let certificates =
                CertificateDer::pem_file_iter(path).map_err(|error| cannot(error.to_string()))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|error| cannot(error.to_string()))?;
                roots
                    .add(certificate)
                    .map_err(|error| cannot(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(cannot("there is no certificate in it".to_owned()));
            }
        }
        None => {
            // One bad file among the system's is no reason to distrust all.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                let hint = "install ca-certificates, or set `ca`";
                return Err(ProbeError::Cannot(format!(
                    "the system trusts no authority; hint: {hint}"
                )));
            }
        }
    }
    Ok(roots)
}

/// Trusts anyone, for checks with `verify: false`. Signatures are still verified.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
