//! Copies of files to and from an instance.
//!
//! A thread carries the client's requests out with `instance::transfer`, whose calls wait. Two tasks
//! pass messages between the thread and the socket, in queues with bounds.
//!
//! | module    | one purpose                                                 |
//! |-----------|-------------------------------------------------------------|
//! | `session` | what the thread and the tasks share                         |
//! | `work`    | carries the requests out                                    |

mod session;
mod work;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::ws::{Message, WebSocket};
use axum::extract::{Path, State};
use axum::response::Response;
use futures_util::stream::SplitStream;
use futures_util::{SinkExt, StreamExt};
use tokio::sync::mpsc;

use super::request::Refused;
use super::socket::{Upgrade, open, parse, text};
use super::state::Server;
use crate::api::Fate;
use crate::api::fault::{Code, Failure, Fault};
use crate::api::files::{Answer, MAX_PIECE, Request, WINDOW};
use crate::instance::transfer::Endpoint;
use crate::monitor::Instance;
use session::{Sent, Session};
use work::Work;

/// Answers that wait for the client.
const MAX_ANSWERS: usize = 4;
/// Bytes that each message counts beyond its content.
const MESSAGE: u64 = 64;

/// Copy files (WebSocket; the messages are described in docs/api.md)
#[utoipa::path(get, path = "/v1/instances/{instance}/files", tag = "instances",
    params(("instance" = String, Path, description = "its number or name")),
    responses((status = 101), (status = "default", body = Failure)))]
pub(super) async fn serve(
    State(server): State<Arc<Server>>,
    Path(key): Path<String>,
    upgrade: Upgrade,
) -> Result<Response, Refused> {
    let instance = server.monitor.find(&key)?;
    let end = server.end.subscribe();
    open(&server, upgrade, async move |socket| {
        copy(&instance, end, socket).await;
    })
}

async fn copy(
    instance: &Instance,
    mut end: tokio::sync::watch::Receiver<Option<Fate>>,
    mut socket: WebSocket,
) {
    if let Err(error) = instance.require_running() {
        // A client that is gone needs no answer.
        let _ = socket.send(text(&Answer::Error(error.into()))).await;
        let _ = socket.send(Message::Close(None)).await;
        return;
    }
    let session = Arc::<Session>::default();
    let (requests, to_do) = mpsc::unbounded_channel();
    let (answers, mut to_send) = mpsc::channel(MAX_ANSWERS);
    let endpoint = Endpoint::new(instance.number, &instance.shared, &instance.outbox);
    let work = Work::new(endpoint, Arc::clone(&session), to_do, answers);
    tokio::task::spawn_blocking(move || work.run());
    let (mut outgoing, mut incoming) = socket.split();
    let sending = async {
        while let Some(answer) = to_send.recv().await {
            if outgoing.send(answer).await.is_err() {
                break;
            }
        }
        // The thread has ended, or the client is gone.
        to_send.close();
        let _ = outgoing.send(Message::Close(None)).await;
    };
    let receiving = async {
        tokio::select! {
            () = receive(&mut incoming, &session, &requests) => {}
            _ = end.wait_for(Option::is_some) => {}
        }
        session.stop.store(true, Ordering::Relaxed);
        drop(requests);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = sending => {}
        () = receiving => {}
    }
    session.stop.store(true, Ordering::Relaxed);
}

/// Passes the client's messages on, until it cancels the copy or is gone.
async fn receive(
    incoming: &mut SplitStream<WebSocket>,
    session: &Session,
    requests: &mpsc::UnboundedSender<(Sent, u64)>,
) {
    while let Some(Ok(message)) = incoming.next().await {
        let (sent, len) = match message {
            Message::Text(text) => match parse::<Request>(&text) {
                Ok(Request::Cancel(_)) => return,
                Ok(request) => (Sent::Request(request), text.len()),
                Err(fault) => (Sent::Wrong(fault), 0),
            },
            Message::Binary(bytes) => {
                let len = bytes.len();
                (Sent::Bytes(bytes.into()), len)
            }
            Message::Close(_) => return,
            Message::Ping(_) | Message::Pong(_) => continue,
        };
        let len = len as u64 + MESSAGE;
        let queued = session.queued.fetch_add(len, Ordering::Relaxed) + len;
        let sent = if queued > 2 * WINDOW + MAX_PIECE as u64 {
            let what = format!("more than {WINDOW} bytes were sent that were not taken");
            Sent::Wrong(Fault::new(Code::TooLarge, what))
        } else {
            sent
        };
        let is_wrong = matches!(sent, Sent::Wrong(_));
        if requests.send((sent, len)).is_err() || is_wrong {
            // The thread has ended, or ends.
            std::future::pending::<()>().await;
        }
    }
}
