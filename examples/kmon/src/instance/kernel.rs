//! Writes the lines of an instance's kernel to a log, in the format of `dmesg`.
//!
//! A line is text of the guest: its control characters are escaped, so that the log can be shown on
//! any terminal.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use kmon_protocol::link::KernelReceiver;
use kmon_protocol::{KernelLine, LinkError, Received};

use super::shared::Shared;
use crate::text;

/// Batches of lines in one step: a kernel that prints without end must not delay KMON.
const BATCHES: usize = 8;

/// The receiving end of the kernel's ring, if the region has one.
pub(super) struct KernelFeed<'m> {
    receiver: Option<KernelReceiver<'m>>,
    shared: Arc<Shared>,
    lines: Lines,
}

impl<'m> KernelFeed<'m> {
    pub(super) fn new(mut receiver: Option<KernelReceiver<'m>>, shared: &Arc<Shared>) -> Self {
        let (handled, is_empty) = {
            let log = &shared.lock().kernel_log;
            (log.handled(), log.end() == 0)
        };
        if let (Some(receiver), Some(handled)) = (&mut receiver, handled) {
            receiver.skip(handled);
        }
        let mut lines = Lines::default();
        if handled.is_none() && !is_empty {
            lines.expect_restart();
        }
        Self {
            receiver,
            shared: Arc::clone(shared),
            lines,
        }
    }

    /// Takes the available lines, without waiting for more.
    pub(super) fn take(&mut self) -> Result<(), LinkError> {
        let Some(receiver) = &mut self.receiver else {
            return Ok(());
        };
        let (shared, lines) = (&self.shared, &mut self.lines);
        for _ in 0..BATCHES {
            let taken = receiver.receive(Duration::ZERO, |at, received| {
                let Received::Message(line) = received else {
                    return;
                };
                let mut view = shared.lock();
                view.kernel_log.append(lines.format(&line).as_bytes());
                view.kernel_log.commit(at);
            })?;
            if taken == 0 {
                return Ok(());
            }
            shared.announce();
            shared.note_kernel();
        }
        Ok(())
    }
}

/// The kernel's lines so far.
#[derive(Default)]
struct Lines {
    newest: Option<u64>,
}

impl Lines {
    /// Notes that the next line is from another start of the kernel.
    fn expect_restart(&mut self) {
        self.newest = Some(u64::MAX);
    }

    /// Formats `line` for the log, as one or more whole lines.
    fn format(&mut self, line: &KernelLine<'_>) -> String {
        let mut shown = String::new();
        if self.newest.is_some_and(|newest| line.sequence <= newest) {
            shown.push_str("[kmon: the kernel was restarted]\n");
        }
        self.newest = Some(line.sequence);
        if line.lost > 0 {
            let lines = if line.lost == 1 { "line" } else { "lines" };
            // Writing to a string does not fail.
            let _ = writeln!(shown, "[kmon: {} {lines} were lost here]", line.lost);
        }
        let (seconds, micros) = (line.time_us / 1_000_000, line.time_us % 1_000_000);
        for part in String::from_utf8_lossy(line.text).lines() {
            // Tabs are kept: tables use them.
            let cells: Vec<_> = part.split('\t').map(text::escaped).collect();
            let part = cells.join("\t");
            let _ = writeln!(shown, "[{seconds:5}.{micros:06}] {part}");
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(sequence: u64, lost: u32, text: &[u8]) -> KernelLine<'_> {
        KernelLine {
            sequence,
            time_us: 1_234_567,
            priority: 6,
            facility: 0,
            lost,
            text,
        }
    }

    #[test]
    fn a_line_has_the_format_of_dmesg_and_cannot_change_a_terminal() {
        let mut lines = Lines::default();
        let shown = lines.format(&line(0, 0, b"one\x1b[2J\xff\n\ttwo\n"));
        let expected = "[    1.234567] one\\u{1b}[2J\u{fffd}\n[    1.234567] \ttwo\n";
        assert_eq!(shown, expected);
    }

    #[test]
    fn lost_lines_and_another_boot_are_noted_in_their_place() {
        let mut lines = Lines::default();
        let shown = lines.format(&line(7, 3, b"a"));
        assert_eq!(shown, "[kmon: 3 lines were lost here]\n[    1.234567] a\n");
        assert_eq!(lines.format(&line(9, 0, b"b")), "[    1.234567] b\n");
        let again = lines.format(&line(0, 0, b"c"));
        assert_eq!(
            again,
            "[kmon: the kernel was restarted]\n[    1.234567] c\n"
        );
    }
}
