//! Follows the server's notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::request::Client;
use super::socket::{Received, Socket};
use crate::api::notice::{Event, Notice, Notices};
use crate::disklog::Stamp;
use crate::printer::NoticePrinter;

/// How long one wait for an event lasts.
const WAIT: Duration = Duration::from_secs(3600);
/// The pause before a server that has ended cleanly is looked for again.
const PAUSE: Duration = Duration::from_secs(1);

/// The notices of the server that were shown.
#[derive(Clone)]
pub(crate) struct Followed {
    printer: Arc<NoticePrinter>,
    last: Arc<AtomicU64>,
}

/// Shows the server's notices from now on; also the earlier ones if the client has `started` it.
/// Starts a server again that dies.
pub(crate) fn follow_notices(
    client: Arc<Client>,
    printer: Arc<NoticePrinter>,
    started: bool,
) -> anyhow::Result<Followed> {
    let last = if started { 0 } else { newest(&client)? };
    let followed = Followed {
        printer,
        last: Arc::new(AtomicU64::new(last)),
    };
    let for_thread = followed.clone();
    // Before the client does anything else: the server must not end meanwhile.
    let socket = for_thread.open(&client)?;
    std::thread::spawn(move || for_thread.follow(&client, socket));
    Ok(followed)
}

fn newest(client: &Client) -> anyhow::Result<u64> {
    let notices: Notices = client.get("/v1/notices")?;
    Ok(notices.notices.last().map_or(0, |notice| notice.sequence))
}

impl Followed {
    fn open(&self, client: &Client) -> anyhow::Result<Socket> {
        let last = self.last.load(Ordering::Relaxed);
        Socket::open(client, &format!("/v1/events?since={last}"))
    }

    fn follow(&self, client: &Client, mut socket: Socket) {
        let mut is_reported = false;
        loop {
            self.show_all(&mut socket);
            if client.ends_server() {
                return;
            }
            // Another server counts its notices from 1.
            self.last.store(0, Ordering::Relaxed);
            socket = loop {
                match self.open(client) {
                    Ok(socket) => break socket,
                    Err(error) if !std::mem::replace(&mut is_reported, true) => {
                        self.printer
                            .post(&format!("the server has ended: {error:#}"));
                    }
                    Err(_) => {}
                }
                std::thread::sleep(PAUSE);
            };
            is_reported = false;
            self.printer
                .post("the server had ended; continuing with another one");
        }
    }

    fn show_all(&self, socket: &mut Socket) {
        loop {
            match socket.receive(WAIT) {
                Ok(Received::Value(Event::Notice(notice))) => self.show(notice),
                Ok(Received::Closed) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }

    fn show(&self, notice: Notice) {
        let before = self.last.fetch_max(notice.sequence, Ordering::Relaxed);
        if before < notice.sequence {
            let time = i64::try_from(notice.time_ms).unwrap_or(i64::MAX);
            self.printer.post_at(Stamp::from_millis(time), &notice.line);
        }
    }

    /// Shows the notices that the server had posted before this call.
    pub(crate) fn catch_up(&self, client: &Client) {
        let last = self.last.load(Ordering::Relaxed);
        // Without a server there are none.
        let newer: Result<Notices, _> = client.get(&format!("/v1/notices?since={last}"));
        for notice in newer.into_iter().flat_map(|newer| newer.notices) {
            self.show(notice);
        }
        self.printer.flush();
    }
}
