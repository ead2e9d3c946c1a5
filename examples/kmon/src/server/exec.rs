//! One command in an instance, apart from its console.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket};
use axum::extract::{Path, State};
use axum::response::Response;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use kmon_protocol::Ending;
use kmon_protocol::link::CommandSender;
use tokio::sync::Notify;

use super::request::Refused;
use super::socket::{Upgrade, first, open, parse, text};
use super::state::Server;
use crate::api::exec::{Ended, Last, Request, STDERR, STDOUT, Stop};
use crate::api::fault::{Code, Failure, Fault};
use crate::instance::outbox::Order;
use crate::instance::shared::{ExecOutput, Stream};
use crate::instance::state::State as InstanceState;
use crate::monitor::Instance;

/// How long to wait for the report that a command has ended that was asked to, which includes the
/// time that guestd grants it.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// A command fails when guestd is silent for this long, so that a script does not hang.
const SILENT: Duration = Duration::from_secs(5);
/// How often the silence is checked.
const CHECK: Duration = Duration::from_millis(500);
/// The longest time-out, in seconds.
const MAX_TIMEOUT: f64 = 86_400.0;

/// Run a command (WebSocket; the messages are described in docs/api.md)
#[utoipa::path(get, path = "/v1/instances/{instance}/exec", tag = "instances",
    params(("instance" = String, Path, description = "its number or name")),
    responses((status = 101), (status = "default", body = Failure)))]
pub(super) async fn serve(
    State(server): State<Arc<Server>>,
    Path(key): Path<String>,
    upgrade: Upgrade,
) -> Result<Response, Refused> {
    let instance = server.monitor.find(&key)?;
    open(&server, upgrade, async move |mut socket| {
        let last = match first(&mut socket).await {
            Ok(request) => run(&instance, &request, &mut socket).await,
            Err(fault) => Err(fault),
        };
        let last = last.map_or_else(Last::Error, Last::Ended);
        // A client that is gone needs no answer.
        let _ = socket.send(text(&last)).await;
        let _ = socket.send(Message::Close(None)).await;
    })
}

/// Runs the command, forwards its output, and returns how it ended.
async fn run(
    instance: &Arc<Instance>,
    request: &Request,
    socket: &mut WebSocket,
) -> Result<Ended, Fault> {
    let exec = Exec::start(instance, request)?;
    let (mut outgoing, mut incoming) = socket.split();
    let (_, ended) = tokio::join!(exec.listen(&mut incoming), exec.forward(&mut outgoing));
    ended
}

/// A command in progress. After its destructor, later output of the command is ignored.
struct Exec<'a> {
    instance: &'a Instance,
    stream: u32,
    /// The client wants no more output, or is gone.
    is_stopped: AtomicBool,
    stopped: Notify,
    /// The client needs no more messages.
    over: Notify,
}

impl<'a> Exec<'a> {
    fn start(instance: &'a Instance, request: &Request) -> Result<Self, Fault> {
        let (arguments, timeout_ms) = check(request)?;
        instance.require_running()?;
        // Before the entry exists: if guestd dies later, the entry is marked as lost.
        let incarnation = instance.outbox.incarnation();
        let stream = {
            let mut view = instance.shared.lock();
            let stream = view.new_stream();
            view.execs.insert(stream, ExecOutput::default());
            stream
        };
        let exec = Self {
            instance,
            stream,
            is_stopped: AtomicBool::new(false),
            stopped: Notify::new(),
            over: Notify::new(),
        };
        let order = Order::Exec {
            stream,
            timeout_ms,
            arguments,
        };
        if !instance.outbox.put_for(incarnation, order) {
            let n = instance.number;
            let what = format!("guestd of instance {n} is being restarted; nothing was run");
            return Err(Fault::new(Code::NotRunning, what));
        }
        Ok(exec)
    }

    /// Handles the client's messages until the command has ended. A client that is gone ends the
    /// command, too.
    async fn listen(&self, incoming: &mut SplitStream<&mut WebSocket>) {
        let messages = async {
            loop {
                match incoming.next().await {
                    Some(Ok(Message::Text(text)))
                        if parse::<Stop>(&text).is_ok_and(|it| it.kill) =>
                    {
                        self.stop();
                    }
                    Some(Ok(Message::Close(_)) | Err(_)) | None => break self.stop(),
                    Some(Ok(_)) => {}
                }
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = messages => {}
            () = self.over.notified() => {}
        }
    }

    /// Asks the command to end; the second time, kills it.
    fn stop(&self) {
        self.order_stop();
        self.is_stopped.store(true, Ordering::Relaxed);
        self.stopped.notify_one();
    }

    async fn forward(
        &self,
        outgoing: &mut SplitSink<&mut WebSocket, Message>,
    ) -> Result<Ended, Fault> {
        let ended = self.forward_until_end(outgoing).await;
        self.over.notify_one();
        ended
    }

    /// Forwards the output until the command ends.
    async fn forward_until_end(
        &self,
        outgoing: &mut SplitSink<&mut WebSocket, Message>,
    ) -> Result<Ended, Fault> {
        let mut news = self.instance.shared.subscribe();
        let mut skipped = 0;
        let mut killed = None;
        loop {
            news.mark_unchanged();
            let (chunks, end) = self.take()?;
            let is_idle = chunks.is_empty();
            for (stream, bytes) in chunks {
                if self.is_stopped.load(Ordering::Relaxed) {
                    skipped += bytes.len() as u64;
                } else {
                    self.send(outgoing, stream, &bytes).await;
                }
            }
            if let Some((ending, dropped)) = end {
                return Ok(ended(ending, dropped, skipped));
            }
            if self.is_stopped.load(Ordering::Relaxed) {
                let since = killed.get_or_insert_with(tokio::time::Instant::now);
                if since.elapsed() > STOP_TIMEOUT {
                    let what = "interrupted; the instance did not report how the command ended";
                    return Err(Fault::new(Code::Failed, what));
                }
            }
            if is_idle {
                tokio::select! {
                    _ = news.changed() => {}
                    () = self.stopped.notified() => {}
                    () = tokio::time::sleep(CHECK) => {}
                }
            }
        }
    }

    /// Sends output, unless the client stops the command meanwhile.
    async fn send(
        &self,
        outgoing: &mut SplitSink<&mut WebSocket, Message>,
        stream: Stream,
        bytes: &[u8],
    ) {
        let mark = match stream {
            Stream::Out => STDOUT,
            Stream::Err => STDERR,
        };
        let message = Message::binary([&[mark], bytes].concat());
        tokio::select! {
            sent = outgoing.send(message) => if sent.is_err() { self.stop() },
            () = self.stopped.notified() => {}
        }
    }

    /// Takes the output that has arrived, and the ending if there is no more output.
    #[expect(clippy::type_complexity)]
    fn take(&self) -> Result<(Vec<(Stream, Vec<u8>)>, Option<(Ending, u64)>), Fault> {
        let shared = &self.instance.shared;
        let mut view = shared.lock();
        let state = view.state.clone();
        let Some(exec) = view.execs.get_mut(&self.stream) else {
            let what = "the instance was started again, and the command was lost";
            return Err(Fault::new(Code::NotRunning, what));
        };
        let chunks: Vec<_> = exec.chunks.drain(..).collect();
        exec.waiting = 0;
        let end = exec.ending.take().map(|ending| (ending, exec.dropped));
        let lost = exec.lost;
        drop(view);
        if end.is_none() && chunks.is_empty() {
            self.check_progress(&state, lost)?;
        } else {
            shared.announce();
        }
        Ok((chunks, end))
    }

    /// Returns an error if no more output can arrive, or if guestd is silent for too long.
    fn check_progress(&self, state: &InstanceState, lost: bool) -> Result<(), Fault> {
        let n = self.instance.number;
        let what = match state {
            _ if lost => format!("guestd of instance {n} died, and the command was killed"),
            InstanceState::Running => return Ok(()),
            InstanceState::Silent(since) if since.elapsed() > SILENT => {
                self.order_stop();
                format!("instance {n} is silent; kmreset {n} starts it again")
            }
            InstanceState::Restarting(since) if since.elapsed() > SILENT => {
                format!("guestd of instance {n} died, and the command was killed")
            }
            InstanceState::Silent(_) | InstanceState::Restarting(_) => return Ok(()),
            InstanceState::Paused => {
                format!("instance {n} is paused, and the command too; kmresume {n} continues both")
            }
            state => format!("instance {n} has ended ({state}), and the command too"),
        };
        Err(Fault::new(Code::NotRunning, what))
    }

    fn order_stop(&self) {
        let stream = self.stream;
        self.instance.outbox.put(Order::Kill { stream });
    }
}

impl Drop for Exec<'_> {
    fn drop(&mut self) {
        self.instance.shared.lock().execs.remove(&self.stream);
    }
}

/// Returns the command's words and its time-out in milliseconds.
fn check(request: &Request) -> Result<(Vec<Vec<u8>>, u32), Fault> {
    let bad = |what: String| Err(Fault::new(Code::BadRequest, what));
    let timeout_s = request.timeout_s.unwrap_or(0.0);
    if !(0.0..=MAX_TIMEOUT).contains(&timeout_s) || request.command.is_empty() {
        return bad(format!(
            "expected a command, and a time-out of at most {MAX_TIMEOUT} seconds"
        ));
    }
    let words = request.command.iter();
    let arguments: Vec<_> = words.map(|word| word.clone().into_bytes()).collect();
    let len = 4 + arguments.iter().map(|word| word.len() + 2).sum::<usize>();
    let max = CommandSender::MAX_BODY;
    if len > max {
        return bad(format!(
            "the command has {len} bytes, the limit is {max}; put it in a file"
        ));
    }
    let timeout = Duration::from_secs_f64(timeout_s);
    let timeout_ms = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
    Ok((arguments, timeout_ms))
}

fn ended(ending: Ending, dropped_bytes: u64, skipped_bytes: u64) -> Ended {
    let mut ended = Ended {
        dropped_bytes,
        skipped_bytes,
        ..Ended::default()
    };
    match ending {
        Ending::Exited(status) => ended.exit_status = Some(status),
        Ending::Signalled(signal) => ended.signal = Some(signal),
        Ending::TimedOut => ended.timed_out = true,
        Ending::NotStarted(why) => ended.error = Some(why),
    }
    ended
}
