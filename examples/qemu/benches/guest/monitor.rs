//! The monitor's end of one region, driven as KMON drives it: one thread receives and beats.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use kmon_protocol::link::{CommandSender, EventReceiver, MonitorLink, Sent, Waiting};
use kmon_protocol::message::Ending;
use kmon_protocol::{Command, Event, Received, Settings};
use shmem_core::Mapping;

use crate::heard::{Heard, State};
use crate::way::Way;

/// How long a turn waits, as in KMON.
const TURN: Duration = Duration::from_millis(50);

pub(crate) struct Monitor {
    sender: Arc<Mutex<CommandSender<'static>>>,
    heard: Arc<Heard>,
    /// The number of the receiving thread.
    pub(crate) thread: i32,
    /// The number of the last command that ran apart.
    command: Mutex<u32>,
}

impl Monitor {
    /// Formats the region, and listens to it from now on.
    pub(crate) fn over(
        memory: &'static Mapping,
        settings: &Settings,
        waiting: Waiting,
        mut tend: impl FnMut() + Send + 'static,
    ) -> Result<Self> {
        let link = MonitorLink::create(memory.window(), settings, waiting)?;
        let (sender, mut receiver, mut kernel) = link.split();
        let heard = Arc::new(Heard::default());
        let ears = Arc::clone(&heard);
        let (tell, told) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let _ = tell.send(nix::unistd::gettid().as_raw());
            loop {
                let done = turn(&mut receiver, &ears).and_then(|()| {
                    let kernel = kernel
                        .as_mut()
                        .map(|kernel| kernel.receive(Duration::ZERO, |_, _| {}));
                    kernel.transpose().map_err(|error| error.to_string())
                });
                if let Err(why) = done {
                    return ears.note(|state| state.broken = Some(why));
                }
                tend();
            }
        });
        Ok(Self {
            sender: Arc::new(Mutex::new(sender)),
            heard,
            thread: told.recv()?,
            command: Mutex::new(0),
        })
    }

    /// Waits for the greeting of an incarnation of the guest daemon, the first or a later one.
    pub(crate) fn wait_for_incarnation(&self, later_than: u32) -> Result<u32> {
        self.heard.wait("greeting of guestd", |state| {
            state
                .incarnation
                .filter(|incarnation| *incarnation > later_than)
        })
    }

    /// What a program that runs apart from the console prints.
    pub(crate) fn run(&self, words: &[&str]) -> Result<String> {
        let command = self.start(words)?;
        let printed = self.finish(command);
        printed.with_context(|| format!("{words:?}"))
    }

    /// Waits for the end of command `number`; what it has printed.
    pub(crate) fn finish(&self, number: u32) -> Result<String> {
        let (printed, ending) = self.heard.wait("end of a command", |state| {
            state.commands.get(&number)?.1.as_ref()?;
            state.commands.remove(&number)
        })?;
        let printed = String::from_utf8_lossy(&printed).into_owned();
        let is_well = ending == Some(Ending::Exited(0));
        ensure!(is_well, "it ended with {ending:?}: {printed}");
        Ok(printed)
    }

    /// Starts such a program; its number.
    pub(crate) fn start(&self, words: &[&str]) -> Result<u32> {
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

    /// The console, where the answering program is started.
    pub(crate) fn way(&self, name: &'static str) -> Result<Way> {
        let (sender, incarnation) = (Arc::clone(&self.sender), self.incarnation()?);
        let mut way = Way::new(name, Arc::clone(&self.heard), move |bytes| {
            bytes
                .chunks(CommandSender::MAX_BODY)
                .try_for_each(|part| send(&sender, &Command::Input(part), incarnation))
        });
        send(
            &self.sender,
            &Command::Input(b"exec guest-echo line\n"),
            incarnation,
        )?;
        way.meet()?;
        Ok(way)
    }

    fn incarnation(&self) -> Result<u32> {
        self.heard
            .wait("greeting of guestd", |state| state.incarnation)
    }
}

fn send(sender: &Mutex<CommandSender<'_>>, command: &Command<'_>, incarnation: u32) -> Result<()> {
    let mut sender = sender.lock().unwrap_or_else(PoisonError::into_inner);
    match sender.send(command, incarnation).context("cannot send")? {
        Sent::Whole => Ok(()),
        // Said once: the guest daemon has a new incarnation.
        Sent::Restarted if sender.send(command, incarnation)? == Sent::Whole => Ok(()),
        other => bail!("cannot send: {other:?}"),
    }
}

/// One turn, as KMON's.
fn turn(receiver: &mut EventReceiver<'_>, heard: &Heard) -> Result<(), String> {
    let received = receiver.receive(TURN, |_, received| {
        if let Received::Message(event) = received {
            heard.note(|state| take(state, event));
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
