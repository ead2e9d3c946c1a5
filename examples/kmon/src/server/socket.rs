//! WebSockets, within bounds.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use futures_util::stream::{SplitSink, SplitStream};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::request::Refused;
use super::state::Server;
use crate::api::fault::{Code, Fault};

/// Bytes of the longest message of a client.
const MAX_MESSAGE: usize = 64 * 1024;
/// How long the first message may take.
const FIRST_TIME: Duration = Duration::from_secs(10);

pub(super) type Outgoing = SplitSink<WebSocket, Message>;
pub(super) type Incoming = SplitStream<WebSocket>;
pub(super) type Upgrade = Result<WebSocketUpgrade, WebSocketUpgradeRejection>;

/// Answers with a WebSocket that `serve` uses.
pub(super) fn open<F>(
    server: &Arc<Server>,
    upgrade: Upgrade,
    serve: impl FnOnce(WebSocket) -> F + Send + 'static,
) -> Result<Response, Refused>
where
    F: Future<Output = ()> + Send + 'static,
{
    let upgrade = upgrade.map_err(|_| {
        let what = "this path is a WebSocket; see docs/api.md";
        Refused::new(Code::BadRequest, what)
    })?;
    let permit = Arc::clone(&server.sockets).try_acquire_owned();
    let permit = permit.map_err(|_| {
        let what = "too many WebSockets are open; try again later";
        Refused::new(Code::TooMany, what)
    })?;
    let upgrade = upgrade.max_message_size(MAX_MESSAGE);
    Ok(upgrade.on_upgrade(async move |socket| {
        serve(socket).await;
        drop(permit);
    }))
}

/// Reads the first message.
pub(super) async fn first<T: DeserializeOwned>(socket: &mut WebSocket) -> Result<T, Fault> {
    let message = tokio::time::timeout(FIRST_TIME, socket.recv()).await;
    match message {
        Ok(Some(Ok(Message::Text(text)))) => parse(&text),
        Ok(_) => Err(Fault::new(
            Code::BadRequest,
            "the first message is not text",
        )),
        Err(_) => Err(Fault::new(
            Code::Timeout,
            "the first message did not arrive",
        )),
    }
}

/// Parses a message of a client.
pub(super) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Fault> {
    serde_json::from_str(text).map_err(|error| {
        let why = crate::text::escaped(&error.to_string());
        Fault::new(
            Code::BadRequest,
            format!("a message: {why}; see docs/api.md"),
        )
    })
}

/// Returns a message that contains `value`.
pub(super) fn text(value: &impl Serialize) -> Message {
    // The values of the API have no maps with other keys than text.
    Message::text(serde_json::to_string(value).unwrap_or_default())
}
