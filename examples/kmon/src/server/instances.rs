//! Requests about instances.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use super::request::{Answer, Body, Parameters, Refused, blocking};
use super::rows::row;
use super::state::Server;
use crate::api::Done;
use crate::api::fault::{Code, Failure};
use crate::api::instances::{Halt, HaltAnswer, List, Load, LogQuery, Look, Reset, Row, Seen};
use crate::config::InstanceName;
use crate::monitor::Instance;

/// Bytes of a log in one answer.
const MAX_LOG: u32 = 1024 * 1024;

type Shared = State<Arc<Server>>;

/// List the instances
#[utoipa::path(get, path = "/v1/instances", tag = "instances",
    responses((status = 200, body = List), (status = "default", body = Failure)))]
pub(super) async fn list(State(server): Shared) -> Json<List> {
    let instances = server.monitor.instances();
    Json(List {
        instances: instances.iter().map(|one| row(one)).collect(),
    })
}

/// Show one instance, now or when it has started
#[utoipa::path(get, path = "/v1/instances/{instance}", tag = "instances",
    params(("instance" = String, Path, description = "its number or name"), Look),
    responses((status = 200, body = Row), (status = "default", body = Failure)))]
pub(super) async fn get(
    State(server): Shared,
    Path(key): Path<String>,
    Parameters(look): Parameters<Look>,
) -> Answer<Row> {
    let instance = server.monitor.find(&key)?;
    if look.wait {
        wait(&instance).await?;
    }
    Ok(Json(row(&instance)))
}

/// Start a new instance of kind process
#[utoipa::path(post, path = "/v1/instances", tag = "instances", request_body = Load,
    responses((status = 201, body = Row), (status = "default", body = Failure)))]
pub(super) async fn create(
    State(server): Shared,
    Body(load): Body<Load>,
) -> Result<Response, Refused> {
    check_name(load.name.as_deref())?;
    let instance = blocking(move || server.monitor.load_new(load.name)).await?;
    let row = started(&instance, load.wait).await?;
    Ok((StatusCode::CREATED, Json(row)).into_response())
}

/// Start an instance that does not run
#[utoipa::path(post, path = "/v1/instances/{instance}/load", tag = "instances",
    params(("instance" = String, Path, description = "its number or name")), request_body = Load,
    responses((status = 200, body = Row), (status = "default", body = Failure)))]
pub(super) async fn load(
    State(server): Shared,
    Path(key): Path<String>,
    Body(load): Body<Load>,
) -> Answer<Row> {
    check_name(load.name.as_deref())?;
    let instance = server.monitor.find(&key)?;
    let loaded = Arc::clone(&instance);
    blocking(move || server.monitor.load(&loaded, load.name)).await?;
    Ok(Json(started(&instance, load.wait).await?))
}

/// Kill an instance and start it again with a new region
#[utoipa::path(post, path = "/v1/instances/{instance}/reset", tag = "instances",
    params(("instance" = String, Path, description = "its number or name")), request_body = Reset,
    responses((status = 200, body = Row), (status = "default", body = Failure)))]
pub(super) async fn reset(
    State(server): Shared,
    Path(key): Path<String>,
    Body(reset): Body<Reset>,
) -> Answer<Row> {
    let instance = server.monitor.find(&key)?;
    let started_again = Arc::clone(&instance);
    blocking(move || server.monitor.reset(&started_again)).await?;
    Ok(Json(started(&instance, reset.wait).await?))
}

fn check_name(name: Option<&str>) -> Result<(), Refused> {
    let checked = name.map(|name| InstanceName::try_from(name.to_owned()));
    match checked {
        Some(Err(what)) => Err(Refused::new(Code::BadRequest, what)),
        _ => Ok(()),
    }
}

async fn started(instance: &Arc<Instance>, is_awaited: bool) -> Result<Row, Refused> {
    if is_awaited && instance.is_awaited() {
        wait(instance).await?;
    }
    Ok(row(instance))
}

async fn wait(instance: &Arc<Instance>) -> Result<(), Refused> {
    let instance = Arc::clone(instance);
    blocking(move || instance.wait_running(Instant::now())).await
}

/// End an instance
#[utoipa::path(post, path = "/v1/instances/{instance}/halt", tag = "instances",
    params(("instance" = String, Path, description = "its number or name")), request_body = Halt,
    responses((status = 200, body = HaltAnswer), (status = "default", body = Failure)))]
pub(super) async fn halt(
    State(server): Shared,
    Path(key): Path<String>,
    Body(halt): Body<Halt>,
) -> Answer<HaltAnswer> {
    let instance = server.monitor.find(&key)?;
    let how = blocking(move || server.monitor.halt(&instance, halt.force)).await?;
    Ok(Json(HaltAnswer { how }))
}

/// Pause the machine of an instance
#[utoipa::path(post, path = "/v1/instances/{instance}/pause", tag = "instances",
    params(("instance" = String, Path, description = "its number or name")),
    responses((status = 200, body = Done), (status = "default", body = Failure)))]
pub(super) async fn pause(
    State(server): Shared,
    Path(key): Path<String>,
    _: Body<Done>,
) -> Answer<Done> {
    let instance = server.monitor.find(&key)?;
    blocking(move || server.monitor.pause(&instance)).await?;
    Ok(Json(Done {}))
}

/// Continue the machine of an instance
#[utoipa::path(post, path = "/v1/instances/{instance}/resume", tag = "instances",
    params(("instance" = String, Path, description = "its number or name")),
    responses((status = 200, body = Done), (status = "default", body = Failure)))]
pub(super) async fn resume(
    State(server): Shared,
    Path(key): Path<String>,
    _: Body<Done>,
) -> Answer<Done> {
    let instance = server.monitor.find(&key)?;
    blocking(move || server.monitor.resume(&instance)).await?;
    Ok(Json(Done {}))
}

/// Remove an instance that does not run, with its output
#[utoipa::path(delete, path = "/v1/instances/{instance}", tag = "instances",
    params(("instance" = String, Path, description = "its number or name")),
    responses((status = 200, body = Done), (status = "default", body = Failure)))]
pub(super) async fn remove(State(server): Shared, Path(key): Path<String>) -> Answer<Done> {
    let instance = server.monitor.find(&key)?;
    blocking(move || server.monitor.remove(&instance)).await?;
    Ok(Json(Done {}))
}

/// Return output of an instance
///
/// The headers `kmon-from` and `kmon-next` contain the positions of the first byte and after the
/// last one, `kmon-end` the end of the log, and `kmon-dropped` how many bytes nobody can see any
/// more.
#[utoipa::path(get, path = "/v1/instances/{instance}/log", tag = "instances",
    params(("instance" = String, Path, description = "its number or name"), LogQuery),
    responses((status = 200, content_type = "application/octet-stream"),
        (status = "default", body = Failure)))]
pub(super) async fn log(
    State(server): Shared,
    Path(key): Path<String>,
    Parameters(query): Parameters<LogQuery>,
) -> Result<Response, Refused> {
    let instance = server.monitor.find(&key)?;
    let view = instance.shared.lock();
    let log = if query.kernel {
        &view.kernel_log
    } else {
        &view.log
    };
    let start = if query.all { log.start() } else { log.seen() };
    let max = query.max.unwrap_or(MAX_LOG).min(MAX_LOG);
    let (from, bytes) = log.read(query.from.unwrap_or(start), max as usize);
    let (end, dropped) = (log.end(), log.dropped());
    drop(view);
    let headers = [
        (CONTENT_TYPE.as_str(), "application/octet-stream".to_owned()),
        ("kmon-from", from.to_string()),
        ("kmon-next", (from + bytes.len() as u64).to_string()),
        ("kmon-end", end.to_string()),
        ("kmon-dropped", dropped.to_string()),
    ];
    Ok((headers, bytes).into_response())
}

/// Note that output of an instance was seen
#[utoipa::path(post, path = "/v1/instances/{instance}/seen", tag = "instances",
    params(("instance" = String, Path, description = "its number or name")), request_body = Seen,
    responses((status = 200, body = Done), (status = "default", body = Failure)))]
pub(super) async fn seen(
    State(server): Shared,
    Path(key): Path<String>,
    Body(seen): Body<Seen>,
) -> Answer<Done> {
    let instance = server.monitor.find(&key)?;
    let mut view = instance.shared.lock();
    let log = if seen.kernel {
        &mut view.kernel_log
    } else {
        &mut view.log
    };
    log.mark_seen(seen.position);
    drop(view);
    instance.shared.announce();
    Ok(Json(Done {}))
}
