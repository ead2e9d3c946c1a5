//! One request and its answer. Each has a connection of its own.
//!
//! A server that has died is started again once, as it was started before; one that has ended
//! cleanly is not.

use std::fmt;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{HeaderMap, Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;

use super::lines::Lines;
use super::starter;
use crate::api::fault::{Code, Failure, Fault};
use crate::api::{Done, Fate, Shutdown};
use crate::interrupt::Interrupt;
use crate::rundir::socket_in;

const BROKEN: &str = "the connection to the server broke; kmlist shows the state";
/// How long a client waits for the next server, and for its instance there.
const RECONNECT: Duration = Duration::from_secs(30);
/// How long it waits for a server that a service manager may start again.
const CLEAN_RESTART: Duration = Duration::from_secs(3);

/// No server runs, and none is started again.
#[derive(Debug)]
pub(crate) struct NoServer(PathBuf);

impl fmt::Display for NoServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let directory = self.0.display();
        write!(f, "no KMON server runs in {directory}; `kmon` starts one")
    }
}

impl std::error::Error for NoServer {}

/// Speaks with one server.
pub(crate) struct Client {
    directory: PathBuf,
    interrupt: Interrupt,
    /// A server that has died is started again.
    revives: bool,
    /// This client ends the server.
    ends_server: AtomicBool,
}

/// A part of an instance's log.
pub(crate) struct LogPart {
    pub(crate) bytes: Vec<u8>,
    /// The position after the last byte.
    pub(crate) next: u64,
    /// Bytes that nobody can see any more.
    pub(crate) dropped: u64,
}

impl Client {
    /// Returns a client of the server of the run directory `directory`.
    pub(crate) fn new(directory: PathBuf, interrupt: Interrupt) -> Self {
        Self {
            directory,
            interrupt,
            revives: false,
            ends_server: AtomicBool::new(false),
        }
    }

    /// Returns the client, which starts a server again that has died.
    pub(crate) fn with_revival(self) -> Self {
        Self {
            revives: true,
            ..self
        }
    }

    pub(crate) fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }

    pub(crate) fn revives(&self) -> bool {
        self.revives
    }

    /// Ends the server.
    pub(crate) fn shut_down(&self, instances: Fate) -> anyhow::Result<()> {
        self.ends_server.store(true, Ordering::Relaxed);
        match self.post::<Done>("/v1/shutdown", &Shutdown { instances }) {
            // Another client was faster.
            Err(error) if error.is::<NoServer>() => Ok(()),
            done => done.map(drop),
        }
    }

    /// Returns true if this client has asked the server to end.
    pub(super) fn ends_server(&self) -> bool {
        self.ends_server.load(Ordering::Relaxed)
    }

    /// Returns true if a server answers.
    pub(crate) fn has_server(&self) -> bool {
        starter::answers(&self.directory)
    }

    /// Connects to the server.
    pub(crate) fn connect(&self) -> anyhow::Result<UnixStream> {
        let socket = socket_in(&self.directory);
        let error = match UnixStream::connect(&socket) {
            Ok(stream) => return Ok(stream),
            Err(error) => error,
        };
        if !is_without_server(&error) {
            return Err(anyhow!(error).context(socket.display().to_string()));
        }
        if self.revives && starter::start_again(&self.directory, &self.interrupt)? {
            return UnixStream::connect(&socket).context("the server");
        }
        Err(NoServer(self.directory.clone()).into())
    }

    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        parse(&self.request(Method::GET, path, None)?.into_body())
    }

    pub(crate) fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> anyhow::Result<T> {
        let body = serde_json::to_vec(body)?;
        parse(&self.request(Method::POST, path, Some(body))?.into_body())
    }

    pub(crate) fn delete<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        parse(&self.request(Method::DELETE, path, None)?.into_body())
    }

    /// Returns a part of the log of instance `number`, as `query` wants it.
    pub(crate) fn log(&self, number: u8, query: &str) -> anyhow::Result<LogPart> {
        let path = format!("/v1/instances/{number}/log?{query}");
        let answer = self.request(Method::GET, &path, None)?;
        let position = |name| header(answer.headers(), name);
        Ok(LogPart {
            next: position("kmon-next")?,
            dropped: position("kmon-dropped")?,
            bytes: answer.into_body().into(),
        })
    }

    /// Returns the lines of a log on disk at `path`.
    pub(crate) fn lines(&self, path: &str) -> anyhow::Result<Lines> {
        let runtime = runtime()?;
        let answer = self.unless_interrupted(self.send(Method::GET, path, None));
        let answer = runtime.block_on(answer)?;
        let is_written = !answer.headers().contains_key("kmon-unwritten");
        Ok(Lines::new(runtime, answer.into_body(), is_written))
    }

    /// Sends a request. Returns the answer if the request has succeeded.
    ///
    /// # Errors
    /// The server's [`crate::api::fault::Fault`], or `^C` was pressed, or the connection broke.
    fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> anyhow::Result<Response<Bytes>> {
        runtime()?.block_on(self.unless_interrupted(async {
            let (head, body) = self.send(method, path, body).await?.into_parts();
            Ok(Response::from_parts(head, collect(body).await?))
        }))
    }

    /// Sends a request. Returns the answer, without its body, if the request has succeeded.
    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> anyhow::Result<Response<Incoming>> {
        let stream = self.connect()?;
        stream.set_nonblocking(true)?;
        let stream = tokio::net::UnixStream::from_std(stream)?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "kmon")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body.unwrap_or_default())))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let answer = sender.send_request(request).await.context(BROKEN)?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let failure: Result<Failure, _> =
            serde_json::from_slice(&collect(answer.into_body()).await?);
        match failure {
            Ok(failure) => Err(failure.error.into()),
            Err(_) => bail!("the server refused the request ({status})"),
        }
    }

    /// Waits for `work`, or until `^C` was pressed.
    async fn unless_interrupted<T>(
        &self,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        tokio::select! {
            done = work => done,
            () = self.interrupt.wait() => bail!("interrupted"),
        }
    }
}

fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

async fn collect(body: Incoming) -> anyhow::Result<Bytes> {
    Ok(body.collect().await.context(BROKEN)?.to_bytes())
}

/// Returns how long to try to reach the next server after `error`.
pub(crate) fn patience(error: &anyhow::Error) -> Duration {
    if error.is::<NoServer>() {
        return CLEAN_RESTART;
    }
    match error.downcast_ref::<Fault>().map(|fault| fault.code) {
        // A server that has just started is still looking for its instances.
        None | Some(Code::NotRunning | Code::NoSuchInstance | Code::ConsoleInUse) => RECONNECT,
        Some(_) => Duration::ZERO,
    }
}

/// Returns true if there is no server: no socket, or one that nobody serves.
fn is_without_server(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
    )
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> anyhow::Result<T> {
    serde_json::from_slice(body).context("the server's answer")
}

fn header(headers: &HeaderMap, name: &str) -> anyhow::Result<u64> {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    let value = value.and_then(|value| value.parse().ok());
    value.with_context(|| format!("the server's answer has no {name}"))
}
