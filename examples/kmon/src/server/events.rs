//! The stream of notices and changes of states.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::{Message, WebSocket};
use axum::response::Response;

use super::request::{Parameters, Refused};
use super::socket::{Upgrade, open, text};
use super::state::Server;
use crate::api::fault::Failure;
use crate::api::notice::{Event, Since, StateChange};

/// How often the states are compared.
const TICK: Duration = Duration::from_secs(1);

/// Follow notices and changes of states (WebSocket)
///
/// Each message is an `Event`. A change of a state is reported within a second.
#[utoipa::path(get, path = "/v1/events", tag = "server", params(Since),
    responses((status = 101, body = Event), (status = "default", body = Failure)))]
pub(super) async fn serve(
    State(server): State<Arc<Server>>,
    Parameters(wanted): Parameters<Since>,
    upgrade: Upgrade,
) -> Result<Response, Refused> {
    let last = wanted
        .since
        .unwrap_or(server.monitor.common().notices.last());
    let for_socket = Arc::clone(&server);
    open(&server, upgrade, async move |socket| {
        follow(&for_socket, last, socket).await;
    })
}

async fn follow(server: &Server, mut last: u64, mut socket: WebSocket) {
    let notices = &server.monitor.common().notices;
    let mut news = notices.subscribe();
    let mut end = server.end.subscribe();
    let mut states = states(server);
    loop {
        news.mark_unchanged();
        let mut events = Vec::new();
        for notice in notices.since(last) {
            last = notice.sequence;
            events.push(Event::Notice(notice));
        }
        changes(&mut states, server).for_each(|change| events.push(Event::State(change)));
        for event in events {
            if socket.send(text(&event)).await.is_err() {
                return;
            }
        }
        tokio::select! {
            _ = news.changed() => {}
            _ = end.changed() => break,
            () = tokio::time::sleep(TICK) => {}
            message = socket.recv() => match message {
                None | Some(Err(_) | Ok(Message::Close(_))) => return,
                Some(Ok(_)) => {}
            },
        }
    }
    // A client that is gone needs no answer.
    let _ = socket.send(Message::Close(None)).await;
}

type States = BTreeMap<u8, StateChange>;

fn states(server: &Server) -> States {
    let instances = server.monitor.instances().into_iter();
    let states = instances.map(|instance| {
        let state = instance.state();
        let shown = StateChange {
            instance: instance.number,
            name: instance.settings().name,
            state: state.word().into(),
            detail: state.detail(),
        };
        (instance.number, shown)
    });
    states.collect()
}

/// Returns the changes since `earlier`, which becomes the current states.
fn changes(earlier: &mut States, server: &Server) -> impl Iterator<Item = StateChange> {
    let now = states(server);
    let mut before = std::mem::replace(earlier, now.clone());
    let mut changed = Vec::new();
    for (number, state) in now {
        let known = before.remove(&number).map(|before| before.state);
        if known.as_deref() != Some(&state.state) {
            changed.push(state);
        }
    }
    let removed = before.into_values().map(|gone| StateChange {
        state: "removed".into(),
        detail: None,
        ..gone
    });
    changed.into_iter().chain(removed)
}
