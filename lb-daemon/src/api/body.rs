//! What comes in with a request: JSON, text and queries, bounded in size and time, refused as problems.

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use super::server::{Caller, Limits};
use super::types::{Kind, Problem};

/// A body of JSON. An empty one stands for `null`, or an object without fields.
pub(super) struct Json<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        parsed(&read(request, |limits| limits.body).await?).map(Json)
    }
}

/// A body of JSON that may be as long as a file.
pub(super) struct LongJson<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for LongJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        parsed(&read(request, |limits| limits.file).await?).map(Self)
    }
}

/// A body as it is, which may be as long as a file.
pub(super) struct Bytes(pub(super) Vec<u8>);

impl<S: Send + Sync> FromRequest<S> for Bytes {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        read(request, |limits| limits.file).await.map(Bytes)
    }
}

/// What stands after the question mark.
pub(super) struct Query<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = axum::extract::Query::<T>::from_request_parts(parts, state).await;
        query.map(|query| Self(query.0)).map_err(|err| {
            Problem::invalid("cannot understand what stands after the `?`")
                .why(err.body_text())
                .hint("docs/api.md has the fields of each path")
        })
    }
}

fn parsed<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    if bytes.trim_ascii().is_empty() {
        return serde_json::from_str("{}")
            .or_else(|_| serde_json::from_str("null"))
            .map_err(|err| bad_json(&err));
    }
    serde_json::from_slice(bytes).map_err(|err| bad_json(&err))
}

async fn read(
    request: Request<Body>,
    most: impl FnOnce(&Limits) -> usize,
) -> Result<Vec<u8>, Problem> {
    let limits = request
        .extensions()
        .get::<Caller>()
        .map_or_else(Limits::default, |caller| caller.limits);
    let most = most(&limits);
    let body = Limited::new(request.into_body(), most).collect();
    match tokio::time::timeout(limits.body_timeout, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes().to_vec()),
        Ok(Err(err)) if err.is::<LengthLimitError>() => {
            Err(Problem::new(Kind::TooLong, "the request is too long")
                .why(format!("at most {most} bytes are taken")))
        }
        Ok(Err(err)) => Err(Problem::invalid("the request broke off").why(err.to_string())),
        Err(_) => Err(
            Problem::new(Kind::TooSlow, "the request was not complete in time").why(format!(
                "{} seconds are given",
                limits.body_timeout.as_secs()
            )),
        ),
    }
}

fn bad_json(err: &serde_json::Error) -> Problem {
    Problem::invalid("cannot understand the request")
        .why(err.to_string())
        .hint("docs/api.md has an example of each")
}
