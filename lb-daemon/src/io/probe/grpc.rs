//! Asks the gRPC health service (`grpc.health.v1.Health/Check`).

use hyper::client::conn::http2;
use hyper_util::rt::TokioIo;
use tonic::Code;
use tonic::body::Body;
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tower::service_fn;

use super::error::ProbeError;
use super::http::{alongside, protocol};
use super::stream::{self, ANSWER};
use super::tasks::Tasks;
use super::{Good, Place, tls};
use crate::core::health::probe::Grpc;

/// A message is two bytes, and may have fields that are not known here.
const MESSAGE: usize = 4096;
const HEADER_BYTES: u32 = 16 * 1024;

pub(super) async fn ask(grpc: &Grpc, to: &Place<'_>) -> Result<Good, ProbeError> {
    let authority = grpc
        .host
        .clone()
        .unwrap_or_else(|| to.address().to_string());
    let host = to.address().ip().to_string();
    let name = grpc
        .host
        .as_deref()
        .map_or(host.as_str(), |host| host.split(':').next().unwrap_or(host));
    let tls = grpc.tls.as_ref().map(|tls| (tls, name, tls::H2));
    let stream = stream::open(to, tls, ANSWER).await?;
    to.talk.begin("waiting for the health service");
    let tasks = Tasks::default();
    let (sender, connection) = http2::Builder::new(tasks.clone())
        .max_header_list_size(HEADER_BYTES)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| protocol(&error))?;
    let scheme = if grpc.tls.is_some() { "https" } else { "http" };
    let origin = format!("{scheme}://{authority}")
        .parse()
        .map_err(|_| ProbeError::Cannot(format!("`{authority}` is not an authority")))?;
    let service = service_fn(move |request: hyper::Request<Body>| {
        let mut sender = sender.clone();
        async move { sender.send_request(request).await }
    });
    let mut client = HealthClient::with_origin(service, origin).max_decoding_message_size(MESSAGE);
    to.talk.note(format!(
        "> grpc.health.v1.Health/Check service: `{}`",
        grpc.service
    ));
    let request = HealthCheckRequest {
        service: grpc.service.clone(),
    };
    let answer = alongside(client.check(request), connection).await;
    let status = match answer {
        Ok(response) => response.into_inner().status,
        Err(status) => {
            to.talk
                .note(format!("< {:?} {}", status.code(), status.message()));
            return Err(refused(&status));
        }
    };
    to.talk.note(format!("< status: {status}"));
    if status == ServingStatus::Serving as i32 {
        return Ok(Good::new("SERVING"));
    }
    Err(ProbeError::Refused(match status {
        2 => "NOT_SERVING".to_owned(),
        3 => "SERVICE_UNKNOWN".to_owned(),
        other => format!("status {other}"),
    }))
}

fn refused(status: &tonic::Status) -> ProbeError {
    match status.code() {
        Code::Unimplemented => ProbeError::Refused("that it has no health service".to_owned()),
        Code::NotFound => ProbeError::Refused("that it does not know the service".to_owned()),
        code => ProbeError::Refused(format!("{code:?}: {}", status.message())),
    }
}
