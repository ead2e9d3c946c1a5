//! The lines of a log on disk, and new ones as they are written.
//!
//! A response is a stream of JSON texts, one on each line. They are read from the files when the
//! client has taken the ones before, so a slow client delays nobody else.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::{Body, Bytes};
use axum::extract::{Extension, Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use kmon_protocol::MONITOR;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::listen::{Busy, Connection};
use super::request::{Parameters, Refused, blocking};
use super::state::{MAX_READERS, Server};
use crate::api::Fate;
use crate::api::fault::{Code, Failure, Fault};
use crate::api::lines::{Line, LinesQuery, Received};
use crate::disklog::{Body as EntryBody, Entries, Entry, LogName, Query, Stamp};
use crate::text::without_escapes;

/// Bytes that are read at once.
const BATCH: usize = 64 * 1024;
/// How many lines before the first new one can be requested.
const MAX_LAST: u32 = 100_000;

type Shared = State<Arc<Server>>;

/// Return lines of an instance's log on disk
///
/// Each line of the answer is a `Line`. If the log cannot be read any further, the last one is a
/// `Failure`. The header `kmon-unwritten` says that the newest output is not in the log yet.
#[utoipa::path(get, path = "/v1/instances/{instance}/lines", tag = "instances",
    params(("instance" = String, Path, description = "its number or name"), LinesQuery),
    responses((status = 200, content_type = "application/x-ndjson", body = Line),
        (status = "default", body = Failure)))]
pub(super) async fn of_instance(
    State(server): Shared,
    Path(key): Path<String>,
    Parameters(query): Parameters<LinesQuery>,
    Extension(connection): Extension<Arc<Connection>>,
) -> Result<Response, Refused> {
    let number = server.monitor.find(&key)?.number;
    let name = match query.kernel {
        true => LogName::Kernel(number),
        false => LogName::Output(number),
    };
    answer(&server, &connection, (number, name), query).await
}

/// Return lines of KMON's own log on disk: its notices
///
/// As for an instance.
#[utoipa::path(get, path = "/v1/notices/lines", tag = "server", params(LinesQuery),
    responses((status = 200, content_type = "application/x-ndjson", body = Line),
        (status = "default", body = Failure)))]
pub(super) async fn of_notices(
    State(server): Shared,
    Parameters(query): Parameters<LinesQuery>,
    Extension(connection): Extension<Arc<Connection>>,
) -> Result<Response, Refused> {
    if query.kernel {
        let what = "these are the lines of KMON itself, which has no kernel";
        return Err(Refused::new(Code::BadRequest, what));
    }
    answer(&server, &connection, (MONITOR, LogName::Kmon), query).await
}

async fn answer(
    server: &Arc<Server>,
    connection: &Arc<Connection>,
    (instance, name): (u8, LogName),
    wanted: LinesQuery,
) -> Result<Response, Refused> {
    let logs = Arc::clone(server.monitor.common().disk_logs()?);
    let query = parse(&wanted).map_err(|what| Refused::new(Code::BadRequest, what))?;
    let permit = Arc::clone(&server.readers).try_acquire_owned();
    let permit = permit.map_err(|_| {
        let what = format!("{MAX_READERS} clients already read logs; try again later");
        Refused::new(Code::TooMany, what)
    })?;
    let flushing = Arc::clone(&logs);
    let is_written = blocking(move || Ok(flushing.flush())).await?;
    let news = logs.subscribe();
    let entries = logs.entries(name, query);
    let lines = Lines {
        instance,
        follows: wanted.follow,
        _stop: Stop(entries.stop()),
        entries: Some(entries),
        news,
        end: server.end.subscribe(),
        _permit: permit,
        _busy: connection.begin_request(),
    };
    let body = Body::from_stream(futures_util::stream::unfold(lines, Lines::next));
    let mut answer = ([(CONTENT_TYPE, "application/x-ndjson")], body).into_response();
    if !is_written {
        let headers = answer.headers_mut();
        headers.insert("kmon-unwritten", "true".parse().expect("a header's value"));
    }
    Ok(answer)
}

/// Returns the query that `wanted` describes.
///
/// # Errors
/// One line: what is wrong.
fn parse(wanted: &LinesQuery) -> Result<Query, String> {
    let since = wanted.since.as_deref().map(Stamp::parse_since);
    let since = since.transpose().map_err(|what| format!("since: {what}"))?;
    let pattern = wanted.grep.as_deref().map(Query::parse_pattern);
    let pattern = pattern
        .transpose()
        .map_err(|what| format!("grep: {what}"))?;
    if wanted.last.is_some_and(|last| last > MAX_LAST) {
        return Err(format!("last: expected at most {MAX_LAST}"));
    }
    let after = wanted.after.as_deref().map(|text| {
        let (output, position) = text.split_once(':')?;
        let output = u64::from_str_radix(output, 16).ok()?;
        Some((output, position.parse().ok()?))
    });
    if after == Some(None) {
        return Err("after: expected OUTPUT:POSITION, as in a line".into());
    }
    Ok(Query {
        since,
        pattern,
        last: wanted.last.map(|last| last as usize),
        all_owners: wanted.all,
        after: after.flatten(),
    })
}

/// Ends a search in the files when the client is gone.
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The lines that a client has requested.
struct Lines {
    instance: u8,
    follows: bool,
    _stop: Stop,
    /// `None` at the end.
    entries: Option<Entries>,
    news: watch::Receiver<()>,
    end: watch::Receiver<Option<Fate>>,
    _permit: OwnedSemaphorePermit,
    _busy: Busy,
}

impl Lines {
    /// Waits for more lines. Returns `None` at the end.
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        loop {
            self.news.mark_unchanged();
            let mut entries = self.entries.take()?;
            let (instance, follows) = (self.instance, self.follows);
            let reading = blocking(move || {
                let read = read(&mut entries, instance, follows);
                Ok((entries, read))
            });
            // After a panic, which the panic hook has reported, the answer ends.
            let (entries, read) = reading.await.ok()?;
            let (bytes, is_last) = match read {
                Ok((bytes, is_at_end)) => (bytes, is_at_end && !self.follows),
                Err(error) => (failure(&error), true),
            };
            self.entries = Some(entries).filter(|_| !is_last);
            if !bytes.is_empty() {
                return Some((Ok(bytes.into()), self));
            }
            if is_last {
                return None;
            }
            tokio::select! {
                _ = self.news.changed() => {}
                _ = self.end.wait_for(Option::is_some) => return None,
            }
        }
    }
}

/// Reads some lines. Returns them, and whether they are the last ones for now.
fn read(entries: &mut Entries, instance: u8, follows: bool) -> io::Result<(Vec<u8>, bool)> {
    let mut bytes = Vec::new();
    while bytes.len() < BATCH {
        match entries.next() {
            Ok(Some(entry)) => put(&mut bytes, instance, &entry),
            Ok(None) => {
                let rest = if follows { None } else { entries.finish() };
                rest.iter().for_each(|rest| put(&mut bytes, instance, rest));
                return Ok((bytes, true));
            }
            Err(error) if bytes.is_empty() => return Err(error),
            // The next call returns it.
            Err(_) => break,
        }
    }
    Ok((bytes, false))
}

fn put(bytes: &mut Vec<u8>, instance: u8, entry: &Entry) {
    put_line(bytes, &Received::Line(line(instance, entry)));
}

fn put_line(bytes: &mut Vec<u8>, received: &Received) {
    // These values have no maps with other keys than text.
    let _ = serde_json::to_writer(&mut *bytes, received);
    bytes.push(b'\n');
}

fn failure(error: &io::Error) -> Vec<u8> {
    let error = Fault::new(Code::Failed, format!("the log cannot be read: {error}"));
    let mut bytes = Vec::new();
    put_line(&mut bytes, &Received::Failure(Failure { error }));
    bytes
}

fn line(instance: u8, entry: &Entry) -> Line {
    let mut line = Line {
        instance,
        time: entry.time.to_string(),
        output: format!("{:016x}", entry.output),
        position: entry.position,
        end: entry.end,
        text: None,
        unfinished: matches!(entry.body, EntryBody::Part(_)),
        missed_bytes: 0,
        begins: None,
    };
    match &entry.body {
        EntryBody::Line(bytes) | EntryBody::Part(bytes) => line.text = Some(without_escapes(bytes)),
        EntryBody::Missed(count) | EntryBody::Dropped(count) => line.missed_bytes = *count,
        EntryBody::Begin(owner) => line.begins = Some(owner.clone()),
    }
    line
}
