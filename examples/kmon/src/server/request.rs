//! Reads requests, within bounds, and answers failures.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use crate::api::fault::{Code, Failure, Fault};

/// How long a body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(10);
/// Bytes of the longest body.
const MAX_BODY: usize = 64 * 1024;

/// A request that has failed.
#[derive(Debug)]
pub(super) struct Refused(pub(super) Fault);

/// A result of a request.
pub(super) type Answer<T> = Result<Json<T>, Refused>;

impl Refused {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self(Fault::new(code, message))
    }
}

impl From<anyhow::Error> for Refused {
    fn from(error: anyhow::Error) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.code.status());
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(Failure { error: self.0 })).into_response()
    }
}

/// The JSON body of a request. An empty body is an empty object.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refused> {
        let body = Limited::new(request.into_body(), MAX_BODY);
        let bytes = match tokio::time::timeout(BODY_TIME, body.collect()).await {
            Ok(Ok(whole)) => whole.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                let what = format!("the body is longer than {MAX_BODY} bytes");
                return Err(Refused::new(Code::TooLarge, what));
            }
            Ok(Err(_)) => return Err(Refused::new(Code::BadRequest, "the body is not whole")),
            Err(_) => {
                let what = format!("the body did not arrive within {} s", BODY_TIME.as_secs());
                return Err(Refused::new(Code::Timeout, what));
            }
        };
        parse(&bytes).map(Self)
    }
}

fn parse<T: DeserializeOwned>(bytes: &Bytes) -> Result<T, Refused> {
    let text: &[u8] = if bytes.is_empty() { b"{}" } else { bytes };
    serde_json::from_slice(text).map_err(|error| bad("the body", &error))
}

/// The parameters of a request.
pub(super) struct Parameters<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refused> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(value)) => Ok(Self(value)),
            Err(error) => Err(bad("the query", &error.body_text())),
        }
    }
}

fn bad(what: &str, why: &dyn std::fmt::Display) -> Refused {
    let why = crate::text::escaped(&why.to_string());
    Refused::new(Code::BadRequest, format!("{what}: {why}; see docs/api.md"))
}

/// Runs `work`, which may wait, on another thread.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> Result<T, Refused> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done?),
        // The panic hook has reported it.
        Err(_) => Err(Refused::new(
            Code::Failed,
            "the server has a fault; see its log",
        )),
    }
}
