//! Handles the events of an instance: output, answers, and news about guestd's incarnation.

use kmon_protocol::link::VERSION;
use kmon_protocol::{Event, LinkError};

use super::outbox::{Discarded, Order, Outbox};
use super::shared::{Stream, View};
use super::watch::Watch;

/// The news from the events of one step.
#[derive(Default)]
pub(super) struct News {
    pub(super) lines: Vec<String>,
    /// The following events are from another incarnation of guestd.
    pub(super) restarted: bool,
    /// There is new output, or some was dropped.
    pub(super) printed: bool,
    /// Guestd has greeted.
    pub(super) greeted: bool,
    pub(super) broken: Option<LinkError>,
}

/// Notes what an event reports about guestd and its incarnation.
pub(super) fn note_event(
    event: &Event<'_>,
    view: &mut View,
    outbox: &Outbox,
    watch: &mut Watch,
    news: &mut News,
) {
    match *event {
        Event::Hello { version, .. } if version != VERSION => {
            let what = format!("guestd uses version {version} of the protocol, KMON uses version {VERSION}");
            news.broken = Some(LinkError::Broken(what));
        }
        Event::Hello {
            incarnation,
            features,
            ..
        } => {
            view.copies_files = features & Event::COPIES_FILES != 0;
            greet(incarnation, view, outbox, watch, news);
        }
        Event::Goodbye => watch.goodbye = true,
        Event::ShellRestarted { status } if watch.shells.note() => news.lines.push(format!(
            "'s shell ends immediately (status {status}); the key shell in kmon.toml can name another"
        )),
        Event::Discarded { commands } => {
            view.log.note_discarded(commands.into());
            let were = if commands == 1 { " was" } else { "s were" };
            news.lines.push(format!(
                ": {commands} command{were} sent before a restart and will not run"
            ));
        }
        _ => {}
    }
}

/// Notes the greeting of guestd's incarnation number `incarnation`.
fn greet(incarnation: u32, view: &mut View, outbox: &Outbox, watch: &mut Watch, news: &mut News) {
    watch.greet();
    news.greeted = true;
    if view.log.incarnation() != incarnation {
        view.lose_guestd();
        watch.guestd = None;
    }
    // Earlier input is not for this incarnation (`pump`, P3).
    let discarded = outbox.begin(incarnation);
    view.log.note_discarded(discarded.commands as u64);
    if let Some((rows, columns)) = view.terminal.filter(|_| view.attached) {
        outbox.put(Order::Resize { rows, columns });
    }
    if view.log.new_incarnation(incarnation) {
        let what = describe(discarded);
        news.lines.push(format!(
            ": guestd was restarted (incarnation {incarnation}){what}"
        ));
    }
}

fn describe(discarded: Discarded) -> String {
    let count = |count: usize, one: &str, more: &str| match count {
        0 => None,
        1 => Some(format!("1 {one}")),
        _ => Some(format!("{count} {more}")),
    };
    let parts = [
        count(discarded.input, "byte of input", "bytes of input"),
        count(discarded.commands, "command", "commands"),
    ];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    if parts.is_empty() {
        return String::new();
    }
    format!("; discarded: {}", parts.join(", "))
}

/// Stores what an event carries. If `patient`, no output is dropped that an attached console has
/// not shown.
pub(super) fn take_event(view: &mut View, event: Event<'_>, patient: bool) {
    match event {
        Event::Output(bytes) => {
            view.printed = true;
            if patient && view.attached {
                view.log.append_patiently(bytes);
            } else {
                view.log.append(bytes);
            }
        }
        Event::Stdout { stream, bytes } => {
            if let Some(exec) = view.execs.get_mut(&stream) {
                exec.push(Stream::Out, bytes);
            }
        }
        Event::Stderr { stream, bytes } => {
            if let Some(exec) = view.execs.get_mut(&stream) {
                exec.push(Stream::Err, bytes);
            }
        }
        Event::Ended { stream, ending } => {
            if let Some(exec) = view.execs.get_mut(&stream) {
                exec.ending = Some(ending);
            }
        }
        Event::Transfer { stream, report } => {
            if let Some(inflight) = view.transfers.get_mut(&stream) {
                inflight.note(report);
            }
        }
        Event::Idle { stream, idle } => view.idle = Some((stream, idle)),
        Event::Dropped { bytes } => view.log.note_dropped(bytes),
        Event::Hello { .. }
        | Event::ShellRestarted { .. }
        | Event::Discarded { .. }
        | Event::Goodbye => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::log::OutputLog;
    use crate::instance::shared::Shared;
    use kmon_protocol::Ending;

    #[test]
    fn output_of_an_unknown_exec_is_not_kept() {
        let shared = Shared::new(OutputLog::in_memory(64), OutputLog::in_memory(64));
        let mut view = shared.lock();
        let bytes = b"late";
        take_event(&mut view, Event::Stdout { stream: 7, bytes }, true);
        assert!(view.execs.is_empty());
        view.execs.insert(7, Default::default());
        take_event(&mut view, Event::Stderr { stream: 7, bytes }, true);
        let ending = Ending::Exited(3);
        take_event(&mut view, Event::Ended { stream: 7, ending }, true);
        assert_eq!(view.execs[&7].chunks[0], (Stream::Err, bytes.to_vec()));
        assert_eq!(view.execs[&7].ending, Some(Ending::Exited(3)));
    }

    #[test]
    fn only_an_attached_front_end_has_a_backlog() {
        let shared = Shared::new(OutputLog::in_memory(1024), OutputLog::in_memory(64));
        let mut view = shared.lock();
        take_event(&mut view, Event::Output(&[b'x'; 100]), true);
        assert_eq!(view.backlog(), 0);
        view.attached = true;
        assert_eq!(view.backlog(), 100);
    }
}
