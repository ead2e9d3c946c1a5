//! A console: its output, what is typed for it, and who writes to it.
//!
//! Input for a shell that is gone is not sent to the next one, nor is the rest of a paste that a
//! restart of guestd interrupts.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::ws::{Message, WebSocket};
use axum::extract::{Extension, Path, State};
use axum::response::Response;
use futures_util::{SinkExt, StreamExt};
use tokio::sync::{Notify, watch};

use super::access::{Peer, Role};
use super::request::Refused;
use super::socket::{Incoming, Outgoing, Upgrade, first, open, parse, text};
use super::state::Server;
use super::stream::Stream;
use super::writers::Writing;
use crate::api::console::{FromClient, FromServer, Holder, Mode, Open, Opened};
use crate::api::fault::{Code, Failure, Fault};
use crate::instance::outbox::Order;
use crate::monitor::Instance;

/// How long typed bytes wait for room before they are refused.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often the room is checked meanwhile.
const RETRY: Duration = Duration::from_millis(20);
/// Input without a longer pause than this is one piece, for one shell.
const PIECE: Duration = Duration::from_millis(50);
/// Typed bytes that may wait here. A client that waits for `typed` has fewer under way.
const MAX_TYPED: usize = 256 * 1024;

/// Open a console (WebSocket; the messages are described in docs/api.md)
#[utoipa::path(get, path = "/v1/instances/{instance}/console", tag = "instances",
    params(("instance" = String, Path, description = "its number or name")),
    responses((status = 101), (status = "default", body = Failure)))]
pub(super) async fn serve(
    State(server): State<Arc<Server>>,
    Extension(peer): Extension<Peer>,
    Path(key): Path<String>,
    upgrade: Upgrade,
) -> Result<Response, Refused> {
    let instance = server.monitor.find(&key)?;
    let for_socket = Arc::clone(&server);
    open(&server, upgrade, async move |mut socket| {
        match Console::begin(for_socket, instance, &peer, &mut socket).await {
            Ok((console, messages)) => console.run(socket, messages).await,
            Err(fault) => {
                // A client that is gone needs no answer.
                let _ = socket.send(text(&FromServer::Error(fault))).await;
                let _ = socket.send(Message::Close(None)).await;
            }
        }
    })
}

struct Console {
    instance: Arc<Instance>,
    /// What the client shows counts as seen: it is an operator.
    is_operator: bool,
    /// Changed by the client's messages.
    shared: Mutex<Shared>,
    woken: Notify,
    typed: Notify,
}

struct Shared {
    stream: Stream,
    writing: Option<Writing>,
    queue: VecDeque<Vec<u8>>,
    queued: usize,
    /// Typed bytes that were handled.
    handled: u64,
    /// Messages that wait to be sent.
    answers: Vec<FromServer>,
    /// The incarnation of guestd for which the last input was, and its time.
    incarnation: Option<u32>,
    last: Instant,
}

impl Console {
    /// Reads the client's first message. Returns the console and its first messages.
    async fn begin(
        server: Arc<Server>,
        instance: Arc<Instance>,
        peer: &Peer,
        socket: &mut WebSocket,
    ) -> Result<(Self, Vec<Message>), Fault> {
        let open: Open = first(socket).await?;
        let writing = match open.mode {
            Mode::View => None,
            Mode::Write => Some(write_to(&server, &instance, peer, &open)?),
        };
        let (stream, before) = Stream::begin(&instance.shared.lock().log, open.from);
        if writing.is_some()
            && let Some((rows, columns)) = open.rows.zip(open.columns)
        {
            draw_again(&instance, rows, columns);
        }
        let opened = Opened {
            instance: instance.number,
            writer: server.writers.holder(instance.number),
        };
        let messages = vec![
            text(&FromServer::Opened(opened)),
            Message::binary(before),
            text(&FromServer::At(stream.position())),
        ];
        let incarnation = instance.outbox.incarnation();
        let console = Self {
            instance,
            is_operator: peer.role >= Some(Role::Operate),
            shared: Mutex::new(Shared::new(stream, writing, incarnation)),
            woken: Notify::new(),
            typed: Notify::new(),
        };
        Ok((console, messages))
    }

    async fn run(self, socket: WebSocket, messages: Vec<Message>) {
        let (mut outgoing, mut incoming) = socket.split();
        for message in messages {
            if outgoing.send(message).await.is_err() {
                return;
            }
        }
        tokio::select! {
            () = self.read(&mut incoming) => {}
            () = self.type_queue() => {}
            () = self.write(&mut outgoing) => {}
        }
        // Before the client learns that the console is closed: it may open the next one.
        self.lock().writing = None;
        // Answers the client's close, or closes.
        let _ = outgoing.close().await;
    }

    /// Handles the client's messages until it closes.
    async fn read(&self, incoming: &mut Incoming) {
        while let Some(Ok(message)) = incoming.next().await {
            match message {
                Message::Binary(bytes) => self.enqueue(&bytes),
                Message::Text(text) => match parse(&text) {
                    Ok(message) => self.handle(message),
                    Err(fault) => self.answer(FromServer::Error(fault)),
                },
                Message::Close(_) => return self.finish_typing().await,
                Message::Ping(_) | Message::Pong(_) => {}
            }
        }
    }

    /// Waits until what was typed before the close is sent.
    async fn finish_typing(&self) {
        let deadline = Instant::now() + PATIENCE;
        while self.lock().queued > 0 && Instant::now() < deadline {
            tokio::time::sleep(RETRY).await;
        }
    }

    fn handle(&self, message: FromClient) {
        let mut shared = self.lock();
        match message {
            FromClient::Shown(position) => {
                shared.stream.note_shown(position);
                let position = position.min(shared.stream.position());
                if self.is_operator {
                    self.instance.shared.lock().log.mark_seen(position);
                    self.instance.shared.announce();
                }
            }
            FromClient::Resize { rows, columns } if shared.writes() => {
                self.instance.shared.lock().terminal = Some((rows, columns));
                self.instance.outbox.put(Order::Resize { rows, columns });
            }
            FromClient::Skip(_) if shared.writes() => {
                let end = self.instance.shared.lock().log.end();
                shared.stream.skip(end);
            }
            FromClient::Resize { .. } | FromClient::Skip(_) => {}
            FromClient::Idle(_) => shared.stream.ask_idle(),
        }
        drop(shared);
        self.woken.notify_one();
    }

    fn answer(&self, message: FromServer) {
        self.lock().answers.push(message);
        self.woken.notify_one();
    }

    /// Queues typed bytes.
    fn enqueue(&self, bytes: &[u8]) {
        let mut shared = self.lock();
        if !shared.writes() || shared.queued + bytes.len() > MAX_TYPED {
            shared.refuse(bytes.len());
            drop(shared);
            self.woken.notify_one();
            return;
        }
        shared.queued += bytes.len();
        shared.queue.push_back(bytes.to_vec());
        self.typed.notify_one();
    }

    /// Sends the queued bytes to the instance.
    async fn type_queue(&self) {
        loop {
            let next = self.lock().queue.pop_front();
            let Some(bytes) = next else {
                self.typed.notified().await;
                continue;
            };
            let was_sent = self.send(&bytes).await;
            let mut shared = self.lock();
            shared.queued -= bytes.len();
            if was_sent {
                shared.note_typed(bytes.len());
            } else {
                shared.refuse(bytes.len());
            }
            drop(shared);
            self.woken.notify_one();
        }
    }

    /// Sends input. Returns false if it was meant for an earlier shell, or there is no room.
    async fn send(&self, bytes: &[u8]) -> bool {
        let outbox = &self.instance.outbox;
        let now = outbox.incarnation();
        {
            let mut shared = self.lock();
            let knows = || self.instance.shared.lock().log.incarnation_seen();
            if shared.last.elapsed() > PIECE && knows() {
                shared.incarnation = now;
            }
            shared.last = Instant::now();
            if shared.incarnation != now || !shared.writes() {
                return false;
            }
        }
        let deadline = Instant::now() + PATIENCE;
        while !outbox.put_input(bytes, now, Duration::ZERO) {
            if outbox.incarnation() != now || Instant::now() > deadline {
                return false;
            }
            tokio::time::sleep(RETRY).await;
        }
        true
    }

    /// Sends the output and the answers until the output ends or the client is gone.
    async fn write(&self, outgoing: &mut Outgoing) {
        let mut news = self.instance.shared.subscribe();
        let mut taken = self.lock().writing.as_ref().map(Writing::watch);
        loop {
            news.mark_unchanged();
            let (messages, is_last) = self.next();
            let is_idle = messages.is_empty();
            for message in messages {
                if outgoing.send(message).await.is_err() {
                    return;
                }
            }
            if is_last {
                return;
            }
            let is_timed = self.lock().stream.is_timed();
            if is_idle {
                tokio::select! {
                    changed = news.changed() => if changed.is_err() { return },
                    () = self.woken.notified() => {}
                    () = taken_over(&mut taken) => {}
                    () = tokio::time::sleep(RETRY), if is_timed => {}
                }
            }
        }
    }

    fn next(&self) -> (Vec<Message>, bool) {
        let mut shared = self.lock();
        if let Some(holder) = shared.writing.as_ref().and_then(Writing::taken_by) {
            shared.writing = None;
            shared.answers.push(FromServer::TakenBy(holder));
        }
        let answers = std::mem::take(&mut shared.answers);
        let is_refused = answers
            .iter()
            .any(|one| matches!(one, FromServer::Error(_)));
        let mut messages: Vec<_> = answers.iter().map(text).collect();
        let instance = &self.instance;
        let mut view = instance.shared.lock();
        let (output, is_last) = shared.stream.next(&mut view, &instance.outbox);
        messages.extend(output);
        (messages, is_last || is_refused)
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn new(stream: Stream, writing: Option<Writing>, incarnation: Option<u32>) -> Self {
        Self {
            stream,
            writing,
            queue: VecDeque::new(),
            queued: 0,
            handled: 0,
            answers: Vec::new(),
            incarnation,
            last: Instant::now(),
        }
    }

    fn writes(&self) -> bool {
        let writing = self.writing.as_ref();
        writing.is_some_and(|writing| writing.taken_by().is_none())
    }

    fn note_typed(&mut self, len: usize) {
        self.handled += len as u64;
        let typed = FromServer::Typed(self.handled);
        match self.answers.last_mut() {
            Some(last @ FromServer::Typed(_)) => *last = typed,
            _ => self.answers.push(typed),
        }
    }

    fn refuse(&mut self, len: usize) {
        self.answers.push(FromServer::Refused(true));
        self.note_typed(len);
    }
}

/// Waits until another client takes over.
async fn taken_over(taken: &mut Option<watch::Receiver<Option<Holder>>>) {
    if let Some(taken) = taken
        && taken.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

/// Makes the peer the writer.
fn write_to(
    server: &Arc<Server>,
    instance: &Arc<Instance>,
    peer: &Peer,
    open: &Open,
) -> Result<Writing, Fault> {
    if peer.role < Some(Role::Operate) {
        server.log_refusal(format!(
            "refused: {} (process {}) tried to type in instance {} without the role operate",
            peer.user, peer.pid, instance.number
        ));
        let what = "your role does not allow to type; --view watches the console";
        return Err(Fault::new(Code::Forbidden, what));
    }
    instance.require_running()?;
    let holder = Holder {
        user: peer.user.clone(),
        pid: peer.pid,
    };
    Writing::begin(&server.writers, instance, holder, open.force).map_err(|now| {
        let what = format!(
            "{} (process {}) uses the console of instance {}; --view watches it, --force takes it",
            now.user, now.pid, instance.number
        );
        Fault::new(Code::ConsoleInUse, what)
    })
}

/// Gives the instance the size of the writer's terminal. A full-screen program draws itself again
/// when the size changes.
fn draw_again(instance: &Instance, rows: u16, columns: u16) {
    let full_screen = {
        let mut view = instance.shared.lock();
        view.terminal = Some((rows, columns));
        view.log.modes().alternate()
    };
    if full_screen {
        let rows = rows.saturating_sub(1).max(1);
        instance.outbox.put(Order::Resize { rows, columns });
    }
    instance.outbox.put(Order::Resize { rows, columns });
}
