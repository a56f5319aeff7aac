//! Why an answer is not a good one.

use std::io;
use std::time::Duration;

use crate::core::health::probe::Statuses;

/// Why an answer is not a good one. Each is one sentence for `lbctl health`.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// It took too long.
    #[error("no answer within {limit:?}, while {stage}")]
    Timeout {
        /// How long it may take.
        limit: Duration,
        /// What was waited for.
        stage: &'static str,
    },
    /// There is no connection.
    #[error("cannot connect: {0}")]
    Connect(#[source] io::Error),
    /// The connection broke.
    #[error("connection broken while {stage}: {error}")]
    Io {
        /// What was being done.
        stage: &'static str,
        /// What the kernel said.
        #[source]
        error: io::Error,
    },
    /// The other side closed the connection too early.
    #[error("closed by the other side while {0}")]
    Closed(&'static str),
    /// More came than a sensible answer has.
    #[error("more than {0} bytes came without an end")]
    TooMuch(usize),
    /// The certificate, or the TLS protocol.
    #[error("TLS: {0}")]
    Tls(String),
    /// The answer is not of the protocol.
    #[error("not an answer of {protocol}: {got}")]
    Protocol {
        /// Which protocol.
        protocol: &'static str,
        /// What came instead.
        got: String,
    },
    /// A status of HTTP that is not among the good ones.
    #[error("status {got}, wanted {wanted}")]
    Status {
        /// What came.
        got: u16,
        /// What is good.
        wanted: Statuses,
    },
    /// The body, or the answer, is another one.
    #[error("the answer is not as expected: {0}")]
    Unexpected(String),
    /// The server itself says that it does not serve.
    #[error("the server says {0}")]
    Refused(String),
    /// It has another role.
    #[error("its role is {got}, wanted {wanted}")]
    Role {
        /// What it is.
        got: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// The script.
    #[error("script: {0}")]
    Script(String),
    /// The file.
    #[error("file: {0}")]
    File(String),
    /// The director itself cannot ask.
    #[error("cannot ask: {0}")]
    Cannot(String),
}
