//! The paths of the API, and the role that each needs.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, Request, State};
use axum::http::{Method, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{delete, get, post};

use super::access::{Peer, Role};
use super::listen::Connection;
use super::request::Refused;
use super::state::Server;
use super::{console, events, exec, files, general, instances, lines};
use crate::api::fault::Code;

/// Returns all paths.
pub(super) fn router(server: &Arc<Server>) -> Router {
    let view = Router::new()
        .route("/version", get(general::version))
        .route("/v1/instances", get(instances::list))
        .route("/v1/instances/{instance}", get(instances::get))
        .route("/v1/instances/{instance}/log", get(instances::log))
        .route("/v1/instances/{instance}/lines", get(lines::of_instance))
        .route("/v1/instances/{instance}/console", get(console::serve))
        .route("/v1/stats", get(general::stats))
        .route("/v1/system", get(general::system_info))
        .route("/v1/notices", get(general::notices))
        .route("/v1/notices/lines", get(lines::of_notices))
        .route("/v1/events", get(events::serve));
    let operate = Router::new()
        .route("/v1/instances/{instance}/load", post(instances::load))
        .route("/v1/instances/{instance}/reset", post(instances::reset))
        .route("/v1/instances/{instance}/halt", post(instances::halt))
        .route("/v1/instances/{instance}/pause", post(instances::pause))
        .route("/v1/instances/{instance}/resume", post(instances::resume))
        .route("/v1/instances/{instance}/seen", post(instances::seen))
        .route("/v1/instances/{instance}/exec", get(exec::serve))
        .route("/v1/instances/{instance}/files", get(files::serve));
    let administer = Router::new()
        .route("/v1/instances", post(instances::create))
        .route("/v1/instances/{instance}", delete(instances::remove))
        .route("/v1/shutdown", post(general::shutdown));
    let all = guarded(view, server, Role::View)
        .merge(guarded(operate, server, Role::Operate))
        .merge(guarded(administer, server, Role::Administer));
    all.fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .layer(from_fn_with_state(Arc::clone(server), count))
        .with_state(Arc::clone(server))
}

fn guarded(router: Router<Arc<Server>>, server: &Arc<Server>, needed: Role) -> Router<Arc<Server>> {
    router.route_layer(from_fn_with_state((Arc::clone(server), needed), check))
}

/// Refuses a request for which the peer's role does not suffice, and logs that.
async fn check(
    State((server, needed)): State<(Arc<Server>, Role)>,
    Extension(peer): Extension<Peer>,
    request: Request,
    next: Next,
) -> Result<Response, Refused> {
    if peer.role >= Some(needed) {
        return Ok(next.run(request).await);
    }
    let (user, pid, needed) = (&peer.user, peer.pid, needed.word());
    let (method, path) = (request.method(), crate::text::brief(request.uri().path()));
    server.log_refusal(format!(
        "refused: {user} (process {pid}) tried {method} {path} without the role {needed}"
    ));
    let what = format!("{user} does not have the role {needed}; see [access] in kmon.toml");
    Err(Refused::new(Code::Forbidden, what))
}

/// Counts the requests in progress.
async fn count(
    State(server): State<Arc<Server>>,
    Extension(connection): Extension<Arc<Connection>>,
    request: Request,
    next: Next,
) -> Response {
    let _counted = server.begin_request();
    let _busy = connection.begin_request();
    next.run(request).await
}

async fn no_such_path(uri: Uri) -> Refused {
    let path = crate::text::brief(uri.path());
    Refused::new(
        Code::NotFound,
        format!("there is no path {path}; see docs/api.md"),
    )
}

async fn no_such_method(method: Method, uri: Uri) -> Refused {
    let path = crate::text::brief(uri.path());
    let what = format!("{path} does not have the method {method}; see docs/api.md");
    Refused::new(Code::MethodNotAllowed, what)
}
