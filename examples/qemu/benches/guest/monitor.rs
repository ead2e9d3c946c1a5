//! The monitor's end of one region. As in KMON, one thread receives and beats.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use kmon_protocol::link::{CommandSender, EventReceiver, MonitorLink, Sent, Waiting};
use kmon_protocol::message::Ending;
use kmon_protocol::{Command, Event, Received, Settings};
use shmem_core::Mapping;

use crate::terminal::Terminal;
use crate::transcript::{State, Transcript};

/// Time limit of one wait for events, as in KMON.
const WAIT: Duration = Duration::from_millis(50);

pub(crate) struct Monitor {
    sender: Arc<Mutex<CommandSender<'static>>>,
    transcript: Arc<Transcript>,
    /// The number of the receiving thread.
    pub(crate) thread: i32,
    /// The number of the last command outside the console.
    command: Mutex<u32>,
}

impl Monitor {
    /// Formats the region, and receives events from now on. Calls `after_wait` after each wait.
    pub(crate) fn start(
        memory: &'static Mapping,
        settings: &Settings,
        waiting: Waiting,
        mut after_wait: impl FnMut() + Send + 'static,
    ) -> Result<Self> {
        let link = MonitorLink::create(memory.window(), settings, waiting)?;
        let (sender, mut receiver, mut kernel) = link.split();
        let transcript = Arc::new(Transcript::default());
        let own = Arc::clone(&transcript);
        let (send_id, id) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let _ = send_id.send(nix::unistd::gettid().as_raw());
            loop {
                let done = receive_once(&mut receiver, &own).and_then(|()| {
                    let kernel = kernel
                        .as_mut()
                        .map(|kernel| kernel.receive(Duration::ZERO, |_, _| {}));
                    kernel.transpose().map_err(|error| error.to_string())
                });
                if let Err(why) = done {
                    return own.note(|state| state.broken = Some(why));
                }
                after_wait();
            }
        });
        Ok(Self {
            sender: Arc::new(Mutex::new(sender)),
            transcript,
            thread: id.recv()?,
            command: Mutex::new(0),
        })
    }

    /// Waits for the greeting of an incarnation of the guest daemon after number `later_than`.
    pub(crate) fn wait_for_incarnation(&self, later_than: u32) -> Result<u32> {
        self.transcript.wait("greeting of guestd", |state| {
            state
                .incarnation
                .filter(|incarnation| *incarnation > later_than)
        })
    }

    /// Runs a program outside the console. Returns its output.
    pub(crate) fn run(&self, words: &[&str]) -> Result<String> {
        let command = self.spawn(words)?;
        let printed = self.finish(command);
        printed.with_context(|| format!("{words:?}"))
    }

    /// Waits for the end of command `number`. Returns its output.
    pub(crate) fn finish(&self, number: u32) -> Result<String> {
        let (printed, ending) = self.transcript.wait("end of a command", |state| {
            state.commands.get(&number)?.1.as_ref()?;
            state.commands.remove(&number)
        })?;
        let printed = String::from_utf8_lossy(&printed).into_owned();
        let succeeded = ending == Some(Ending::Exited(0));
        ensure!(succeeded, "it ended with {ending:?}: {printed}");
        Ok(printed)
    }

    /// Starts a program outside the console. Returns its number.
    pub(crate) fn spawn(&self, words: &[&str]) -> Result<u32> {
        let mut number = self.command.lock().unwrap_or_else(PoisonError::into_inner);
        *number += 1;
        let arguments = words.iter().map(|word| word.as_bytes()).collect();
        let command = Command::Exec {
            stream: *number,
            timeout_ms: 0,
            arguments,
        };
        send(&self.sender, &command, self.incarnation()?)?;
        Ok(*number)
    }

    /// Starts the answering program in the console. Returns the console.
    pub(crate) fn terminal(&self, name: &'static str) -> Result<Terminal> {
        let (sender, incarnation) = (Arc::clone(&self.sender), self.incarnation()?);
        let mut terminal = Terminal::new(name, Arc::clone(&self.transcript), move |bytes| {
            bytes
                .chunks(CommandSender::MAX_BODY)
                .try_for_each(|part| send(&sender, &Command::Input(part), incarnation))
        });
        send(
            &self.sender,
            &Command::Input(b"exec guest-echo line\n"),
            incarnation,
        )?;
        terminal.wait_for_answerer()?;
        Ok(terminal)
    }

    fn incarnation(&self) -> Result<u32> {
        self.transcript
            .wait("greeting of guestd", |state| state.incarnation)
    }
}

fn send(sender: &Mutex<CommandSender<'_>>, command: &Command<'_>, incarnation: u32) -> Result<()> {
    let mut sender = sender.lock().unwrap_or_else(PoisonError::into_inner);
    match sender.send(command, incarnation).context("cannot send")? {
        Sent::Whole => Ok(()),
        // Reported once: the guest daemon has a new incarnation.
        Sent::Restarted if sender.send(command, incarnation)? == Sent::Whole => Ok(()),
        other => bail!("cannot send: {other:?}"),
    }
}

/// Receives once, as KMON does.
fn receive_once(receiver: &mut EventReceiver<'_>, transcript: &Transcript) -> Result<(), String> {
    let received = receiver.receive(WAIT, |_, received| {
        if let Received::Message(event) = received {
            transcript.note(|state| take(state, event));
        }
    });
    received.map_err(|error| error.to_string())?;
    receiver.stats();
    receiver.beat().map_err(|error| error.to_string())
}

fn take(state: &mut State, event: Event<'_>) {
    match event {
        Event::Hello { incarnation, .. } => state.incarnation = Some(incarnation),
        Event::Output(bytes) => {
            state.console.extend_from_slice(bytes);
            state.at = Some(Instant::now());
        }
        Event::Stdout { stream, bytes } | Event::Stderr { stream, bytes } => {
            state.commands.entry(stream).or_default().0.extend(bytes);
        }
        Event::Ended { stream, ending } => {
            state.commands.entry(stream).or_default().1 = Some(ending);
        }
        Event::Dropped { .. } => state.broken = Some("output was dropped".to_owned()),
        _ => {}
    }
}
