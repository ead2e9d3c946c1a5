//! Accepts connections, within bounds.
//!
//! At most [`MAX_CONNECTIONS`] are open. If there are more, the oldest one without a request in
//! progress is closed, so that idle connections keep nobody out.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::Extension;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::AbortHandle;

use super::state::Server;

/// How many connections are open, apart from WebSockets.
const MAX_CONNECTIONS: usize = 256;
/// How long the header of a request may take to arrive, and how long a connection may be idle.
const HEADER_TIME: Duration = Duration::from_secs(10);
/// How long a connection may last, unless it has a request in progress.
const CONNECTION_TIME: Duration = Duration::from_secs(300);
/// Bytes of the longest header.
const MAX_HEADER: usize = 16 * 1024;
/// The pause after an error of the system, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// A connection, as its requests see it.
#[derive(Default)]
pub(super) struct Connection {
    requests: AtomicUsize,
}

/// A request in progress, until this is dropped.
pub(super) struct Busy(Arc<Connection>);

impl Connection {
    pub(super) fn begin_request(self: &Arc<Self>) -> Busy {
        self.requests.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }

    fn is_busy(&self) -> bool {
        self.requests.load(Ordering::Relaxed) > 0
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Default)]
struct Connections {
    open: Mutex<BTreeMap<u64, (Arc<Connection>, AbortHandle)>>,
}

impl Connections {
    /// Closes the oldest connection without a request if there are too many. Returns false if all
    /// have one.
    fn make_room(&self) -> bool {
        let mut open = self.lock();
        if open.len() < MAX_CONNECTIONS {
            return true;
        }
        let idle = open.iter().find(|(_, (one, _))| !one.is_busy());
        let Some(id) = idle.map(|(&id, _)| id) else {
            return false;
        };
        if let Some((_, task)) = open.remove(&id) {
            task.abort();
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, (Arc<Connection>, AbortHandle)>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Accepts connections until the server ends.
pub(super) async fn accept(listener: UnixListener, server: Arc<Server>, router: Router) {
    let connections = Arc::new(Connections::default());
    for id in 0.. {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(_) => {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        if !connections.make_room() {
            // The client sees that the connection was closed, and may try again.
            continue;
        }
        let connection = Arc::<Connection>::default();
        let (all, one) = (Arc::clone(&connections), Arc::clone(&connection));
        let (server, router) = (Arc::clone(&server), router.clone());
        // Registered before it can end.
        let mut open = connections.lock();
        let task = tokio::spawn(async move {
            serve(stream, &server, router, one).await;
            all.lock().remove(&id);
        });
        open.insert(id, (connection, task.abort_handle()));
    }
}

async fn serve(stream: UnixStream, server: &Server, router: Router, connection: Arc<Connection>) {
    let Ok(peer) = stream.peer_cred() else {
        return;
    };
    let peer = server
        .access
        .peer(peer.uid(), peer.gid(), peer.pid().unwrap_or(0));
    let service = router
        .layer(Extension(peer))
        .layer(Extension(Arc::clone(&connection)));
    let mut http = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_buf_size(MAX_HEADER)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
        .with_upgrades();
    // A connection that breaks concerns only its client.
    while tokio::time::timeout(CONNECTION_TIME, &mut http)
        .await
        .is_err()
        && connection.is_busy()
    {}
}
