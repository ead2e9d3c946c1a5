//! Requests about the server and its machine.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::request::{Answer, Body, Parameters, blocking};
use super::rows::readings;
use super::state::Server;
use super::system;
use crate::api::fault::Failure;
use crate::api::notice::{Notices, Since};
use crate::api::reading::Readings;
use crate::api::system::SystemInfo;
use crate::api::{Done, Fate, Shutdown, Version};

type Shared = State<Arc<Server>>;

/// Show which versions of the API the server has
#[utoipa::path(get, path = "/version", tag = "server",
    responses((status = 200, body = Version), (status = "default", body = Failure)))]
pub(super) async fn version() -> Json<Version> {
    Json(Version {
        versions: vec!["v1".into()],
        version: env!("CARGO_PKG_VERSION").into(),
        pid: std::process::id(),
    })
}

/// Return the newest statistics of all instances
#[utoipa::path(get, path = "/v1/stats", tag = "instances",
    responses((status = 200, body = Readings), (status = "default", body = Failure)))]
pub(super) async fn stats(State(server): Shared) -> Json<Readings> {
    let instances = server.monitor.instances();
    Json(Readings {
        period_s: server.monitor.common().period.as_secs_f64(),
        instances: instances.iter().map(|one| readings(one)).collect(),
    })
}

/// Show the server's machine
#[utoipa::path(get, path = "/v1/system", tag = "server",
    responses((status = 200, body = SystemInfo), (status = "default", body = Failure)))]
pub(super) async fn system_info() -> Answer<SystemInfo> {
    Ok(Json(blocking(system::read).await?))
}

/// Return the notices that the server still has
#[utoipa::path(get, path = "/v1/notices", tag = "server", params(Since),
    responses((status = 200, body = Notices), (status = "default", body = Failure)))]
pub(super) async fn notices(
    State(server): Shared,
    Parameters(wanted): Parameters<Since>,
) -> Json<Notices> {
    let notices = &server.monitor.common().notices;
    Json(Notices {
        notices: notices.since(wanted.since.unwrap_or(0)),
    })
}

/// End the server
#[utoipa::path(post, path = "/v1/shutdown", tag = "server", request_body = Shutdown,
    responses((status = 200, body = Done), (status = "default", body = Failure)))]
pub(super) async fn shutdown(
    State(server): Shared,
    Body(shutdown): Body<Shutdown>,
) -> Answer<Done> {
    if shutdown.instances == Fate::Halt {
        let ending = Arc::clone(&server);
        blocking(move || {
            ending.monitor.halt_all();
            Ok(())
        })
        .await?;
    }
    // Before the answer: the client may look for the next server at once.
    server.monitor.common().rundir.remove_socket();
    server.end.send_replace(Some(shutdown.instances));
    Ok(Json(Done {}))
}
