//! Finds the escape key and `kmexitconsole` in typed input.
//!
//! - **F1** Every typed byte is used exactly once: it is sent to the instance, is part of what
//!   leaves the console, or remains for the prompt. The order stays the same.
//! - **F2** No byte of a recognized `kmexitconsole` is sent. From the start of a line, bytes that
//!   may become this word are held back, and KMON echoes them instead of the instance. A word that
//!   a correction completes (`kmexitconsolx`, backspace, `e`) was already sent, and is erased
//!   there.
//! - **F3** An escape key leaves, unless another follows: then one escape key is sent; or `?`, which
//!   shows what the key can do. A later read or a time-out decides.
//!
//! A line starts at the start of the session, and after `CR`, `LF`, `^C`, `^U` and `^D`. It also
//! starts where backspaces or `^W` have emptied the line, and where the instance has begun a new
//! line (`q` has ended `top`, and the shell shows its prompt). The terminal's answers to questions
//! of the instance belong to no line (busybox asks for the cursor's position with each prompt).
//! While the instance's program shows the alternate screen, keys are not lines and nothing is held
//! back.

use super::line::{Line, WORD};

/// Erases one echoed character.
const ERASE: &[u8] = b"\x08 \x08";

/// What to do with typed bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Write to the instance.
    Send(Vec<u8>),
    /// Show on the operator's terminal.
    Echo(Vec<u8>),
    /// Show what the escape key can do.
    Help,
    /// Leave the console.
    Leave,
}

/// The state between two typed bytes.
#[derive(Debug)]
pub(super) struct Filter {
    escape: u8,
    /// An escape key was typed, and the next byte decides (F3).
    escaping: bool,
    /// The line to which the next byte belongs.
    line: Line,
}

impl Filter {
    pub(super) fn new(escape: u8) -> Self {
        Self {
            escape,
            escaping: false,
            line: Line::Held(0),
        }
    }

    /// Returns true if the caller must report a short pause with [`Filter::pause`].
    pub(super) fn awaits_pause(&self) -> bool {
        self.escaping
    }

    /// Notes that the instance has begun a new line since the last byte was typed.
    pub(super) fn new_line(&mut self) {
        self.line = std::mem::replace(&mut self.line, Line::Unknown).after_newline();
    }

    /// Filters typed bytes. Returns what to do, and how many bytes were used: fewer than all only
    /// if the last action is [`Action::Leave`].
    pub(super) fn type_bytes(&mut self, typed: &[u8], alternate: bool) -> (Vec<Action>, usize) {
        let mut actions = Actions::default();
        for (at, &byte) in typed.iter().enumerate() {
            let left = if self.escaping {
                self.escaping = false;
                if byte == b'?' {
                    actions.0.push(Action::Help);
                    continue;
                }
                if byte != self.escape {
                    // It was a single escape key: this byte belongs to the prompt.
                    self.leave(&mut actions);
                    return (actions.0, at);
                }
                self.type_plain(byte, alternate, &mut actions)
            } else if byte == self.escape {
                self.escaping = true;
                false
            } else {
                self.type_plain(byte, alternate, &mut actions)
            };
            if left {
                return (actions.0, at + 1);
            }
        }
        (actions.0, typed.len())
    }

    /// Notes that nothing was typed for a while: a single escape key leaves.
    pub(super) fn pause(&mut self) -> Vec<Action> {
        let mut actions = Actions::default();
        if std::mem::take(&mut self.escaping) {
            self.leave(&mut actions);
        }
        actions.0
    }

    /// Ends the session for another reason: held bytes go to the instance.
    pub(super) fn finish(&mut self) -> Vec<Action> {
        let mut actions = Actions::default();
        self.flush_held(&mut actions);
        actions.0
    }

    fn leave(&mut self, actions: &mut Actions) {
        self.flush_held(actions);
        actions.0.push(Action::Leave);
    }

    /// Filters a byte that is not an escape key. Returns true if it leaves.
    fn type_plain(&mut self, byte: u8, alternate: bool, actions: &mut Actions) -> bool {
        if let Line::Held(held) = self.line
            && !alternate
        {
            match byte {
                b'\r' | b'\n' if held == WORD.len() => {
                    actions.echo(b"\r\n");
                    actions.0.push(Action::Leave);
                    return true;
                }
                0x08 | 0x7f if held > 0 => {
                    actions.echo(ERASE);
                    self.line = Line::Held(held - 1);
                    return false;
                }
                _ if WORD.get(held) == Some(&byte) => {
                    actions.echo(&[byte]);
                    self.line = Line::Held(held + 1);
                    return false;
                }
                _ => {}
            }
        }
        if matches!(&self.line, Line::Sent(sent) if sent == WORD)
            && matches!(byte, b'\r' | b'\n')
            && !alternate
        {
            actions.send(&[0x7f; WORD.len()]);
            actions.0.push(Action::Leave);
            return true;
        }
        self.flush_held(actions);
        actions.send(&[byte]);
        // After the alternate screen there is a prompt.
        let line = std::mem::replace(&mut self.line, Line::Held(0));
        if !alternate {
            self.line = line.push(byte);
        }
        false
    }

    /// Sends the held bytes, because they are not `kmexitconsole`; the instance echoes them.
    fn flush_held(&mut self, actions: &mut Actions) {
        if let Line::Held(held @ 1..) = self.line {
            actions.echo(&ERASE.repeat(held));
            actions.send(&WORD[..held]);
            self.line = Line::Sent(WORD[..held].to_vec());
        }
    }
}

/// A list of actions that joins adjacent actions of one kind.
#[derive(Default)]
struct Actions(Vec<Action>);

impl Actions {
    fn send(&mut self, bytes: &[u8]) {
        match self.0.last_mut() {
            Some(Action::Send(last)) => last.extend_from_slice(bytes),
            _ => self.0.push(Action::Send(bytes.to_vec())),
        }
    }

    fn echo(&mut self, bytes: &[u8]) {
        match self.0.last_mut() {
            Some(Action::Echo(last)) => last.extend_from_slice(bytes),
            _ => self.0.push(Action::Echo(bytes.to_vec())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ESCAPE: u8 = 0x1d;

    /// The result of a session.
    #[derive(Debug, Default, PartialEq, Eq)]
    struct Outcome {
        sent: Vec<u8>,
        shown: Vec<u8>,
        left: bool,
        /// Bytes typed after the console was left.
        rest: Vec<u8>,
    }

    fn apply(outcome: &mut Outcome, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Send(bytes) => outcome.sent.extend(bytes),
                Action::Echo(bytes) => outcome.shown.extend(bytes),
                Action::Help => outcome.shown.extend(b"help"),
                Action::Leave => outcome.left = true,
            }
        }
    }

    #[test]
    fn a_question_mark_after_the_escape_key_asks_for_help_and_is_not_sent() {
        let outcome = type_in_reads(&[b"a\x1d?b\x1d", b"?c"], false);
        assert_eq!(outcome.sent, b"abc");
        assert_eq!(outcome.shown, b"helphelp");
        assert!(!outcome.left);
    }

    fn type_in_reads(reads: &[&[u8]], alternate: bool) -> Outcome {
        let mut filter = Filter::new(ESCAPE);
        let mut outcome = Outcome::default();
        for read in reads {
            if outcome.left {
                outcome.rest.extend_from_slice(read);
                continue;
            }
            let (actions, used) = filter.type_bytes(read, alternate);
            apply(&mut outcome, actions);
            assert!(used == read.len() || outcome.left);
            outcome.rest.extend_from_slice(&read[used..]);
        }
        outcome
    }

    fn typed(bytes: &[u8]) -> Outcome {
        let at_once = type_in_reads(&[bytes], false);
        // The outcome does not depend on how the bytes arrive.
        for cut in 0..=bytes.len() {
            let (before, after) = bytes.split_at(cut);
            assert_eq!(
                type_in_reads(&[before, after], false),
                at_once,
                "cut at {cut}"
            );
        }
        let single: Vec<_> = bytes.chunks(1).collect();
        assert_eq!(type_in_reads(&single, false), at_once);
        at_once
    }

    #[test]
    fn the_word_on_a_line_of_its_own_leaves_and_is_never_sent() {
        for end in ["\r", "\n"] {
            let outcome = typed(format!("kmexitconsole{end}").as_bytes());
            assert!(outcome.left && outcome.sent.is_empty());
            assert_eq!(outcome.shown, b"kmexitconsole\r\n");
        }
    }

    #[test]
    fn the_word_leaves_after_every_end_of_a_line() {
        for before in [
            &b"ls\r"[..],
            b"ls\n",
            b"ls\x03",
            b"ls\x15",
            b"\x04",
            b"kmex\r",
        ] {
            let outcome = typed(&[before, b"kmexitconsole\r"].concat());
            assert!(outcome.left, "{before:?}");
            assert_eq!(outcome.sent, before);
        }
    }

    #[test]
    fn the_word_with_other_text_on_its_line_is_sent() {
        for line in [
            "echo kmexitconsole\r",
            "kmexitconsole2\r",
            "kmexitconsol\r",
            " kmexitconsole\r",
        ] {
            let outcome = typed(line.as_bytes());
            assert!(!outcome.left, "{line}");
            assert_eq!(outcome.sent, line.as_bytes());
        }
    }

    #[test]
    fn a_line_that_differs_from_the_word_is_erased_and_sent_whole() {
        let outcome = typed(b"kmod");
        assert_eq!(outcome.sent, b"kmod");
        assert_eq!(outcome.shown, b"km\x08 \x08\x08 \x08");
    }

    #[test]
    fn backspace_corrects_held_bytes() {
        let outcome = typed(b"kmexii\x7f\x08");
        // The second `i` does not belong to the word: all is sent, the backspaces too.
        assert_eq!(outcome.sent, b"kmexii\x7f\x08");
        let outcome = typed(b"kmee\x7f");
        assert_eq!(outcome.sent, b"kmee\x7f");
        let outcome = typed(b"kme\x7f\x08\x7fkmexitconsole\r");
        assert!(outcome.left && outcome.sent.is_empty());
        let outcome = typed(b"\x7fkmexitconsole\r");
        assert!(outcome.left);
        assert_eq!(outcome.sent, b"\x7f");
    }

    #[test]
    fn an_emptied_line_is_a_new_line() {
        for before in ["ls\x7f\x08", "ls \x17", "kmod -a\x15", "a b\x17\x17"] {
            let outcome = typed(format!("{before}kmexitconsole\r").as_bytes());
            assert!(outcome.left, "{before:?}");
            assert_eq!(outcome.sent, before.as_bytes());
        }
        for before in ["ls\x7f", "a-b\x17", "\x1b[A\x7f\x7f\x7f", "ü\x7f"] {
            let outcome = typed(format!("{before}kmexitconsole\r").as_bytes());
            assert!(!outcome.left, "{before:?}");
        }
    }

    #[test]
    fn a_corrected_word_leaves_and_is_erased() {
        let line = "kmexitconsolx\x7fe";
        let outcome = typed(format!("{line}\rkmlist\r").as_bytes());
        assert!(outcome.left);
        assert_eq!(outcome.rest, b"kmlist\r");
        let erased = "\x7f".repeat(WORD.len());
        assert_eq!(outcome.sent, format!("{line}{erased}").as_bytes());
    }

    #[test]
    fn a_single_escape_key_leaves_when_another_key_or_a_pause_follows() {
        let outcome = typed(b"ls\x1dkmlist\r");
        assert!(outcome.left);
        assert_eq!(
            (outcome.sent.as_slice(), outcome.rest.as_slice()),
            (&b"ls"[..], &b"kmlist\r"[..])
        );

        let mut filter = Filter::new(ESCAPE);
        let (actions, used) = filter.type_bytes(b"\x1d", false);
        assert_eq!((actions, used), (vec![], 1));
        assert!(filter.awaits_pause());
        assert_eq!(filter.pause(), [Action::Leave]);
        assert!(!filter.awaits_pause());
        assert_eq!(filter.pause(), []);
    }

    #[test]
    fn of_two_escape_keys_one_is_sent() {
        let outcome = typed(b"a\x1d\x1db");
        assert!(!outcome.left);
        assert_eq!(outcome.sent, b"a\x1db");
        let outcome = typed(b"\x1d\x1d\x1d\x1d");
        assert_eq!(outcome.sent, b"\x1d\x1d");
        let outcome = typed(b"\x1d\x1d\x1dx");
        assert!(outcome.left);
        assert_eq!(
            (outcome.sent.as_slice(), outcome.rest.as_slice()),
            (&b"\x1d"[..], &b"x"[..])
        );
    }

    #[test]
    fn an_escape_key_sends_held_bytes_first() {
        let outcome = typed(b"kmex\x1dq");
        assert!(outcome.left);
        assert_eq!(outcome.sent, b"kmex");
        let mut filter = Filter::new(ESCAPE);
        filter.type_bytes(b"km", false);
        let expected = [Action::Echo(ERASE.repeat(2)), Action::Send(b"km".to_vec())];
        assert_eq!(filter.finish(), expected);
    }

    #[test]
    fn input_after_the_word_is_for_kmon() {
        let outcome = typed(b"kmexitconsole\rkmconsole 3\r");
        assert!(outcome.left);
        assert_eq!(outcome.rest, b"kmconsole 3\r");
    }

    #[test]
    fn in_the_alternate_screen_keys_are_not_lines() {
        let outcome = type_in_reads(&[b"kmexitconsole\r"], true);
        assert!(!outcome.left && outcome.shown.is_empty());
        assert_eq!(outcome.sent, b"kmexitconsole\r");
        let outcome = type_in_reads(&[b"k", b"\x1dq"], true);
        assert!(outcome.left, "the escape key leaves everything");
    }

    #[test]
    fn a_line_starts_after_a_full_screen_program() {
        let mut filter = Filter::new(ESCAPE);
        filter.type_bytes(b":q", true);
        let (actions, _) = filter.type_bytes(b"kmexitconsole\r", false);
        assert_eq!(actions.last(), Some(&Action::Leave));

        let mut filter = Filter::new(ESCAPE);
        filter.type_bytes(b"q", false);
        filter.new_line();
        let (actions, _) = filter.type_bytes(b"kmexit", false);
        filter.new_line(); // Held bytes stay held.
        let (more, _) = filter.type_bytes(b"console\r", false);
        assert_eq!(actions, [Action::Echo(b"kmexit".to_vec())]);
        assert_eq!(more.last(), Some(&Action::Leave));
    }

    #[test]
    fn an_answer_of_the_terminal_is_not_on_the_line() {
        for answer in ["\x1b[12;34R", "\x1b[?6c", "\x1b[0n", "\x1b[1;1R\x1b[2;1R"] {
            let outcome = typed(format!("{answer}kmexitconsole\r").as_bytes());
            assert!(outcome.left, "{answer:?}");
            assert_eq!(outcome.sent, answer.as_bytes());
            let outcome = typed(format!("ls{answer}\x7f\x7fkmexitconsole\r").as_bytes());
            assert!(outcome.left, "{answer:?}");
            let outcome = typed(format!("ls {answer}kmexitconsole\r").as_bytes());
            assert!(!outcome.left, "{answer:?}");
        }
        for key in ["\x1b[A", "\x1bOR", "\x1b", "\x1b[3~", "\x1b[A\x1b[1;1R"] {
            let outcome = typed(format!("{key}kmexitconsole\r").as_bytes());
            assert!(!outcome.left, "{key:?}");
        }
        let mut filter = Filter::new(ESCAPE);
        filter.type_bytes(b"q\x1b[1;", false);
        filter.new_line();
        let (actions, _) = filter.type_bytes(b"1Rkmexitconsole\r", false);
        assert_eq!(actions.last(), Some(&Action::Leave));
    }

    #[test]
    fn every_byte_value_reaches_the_instance_once() {
        let all: Vec<u8> = (0..=255).filter(|&byte| byte != ESCAPE).collect();
        assert_eq!(typed(&all).sent, all);
    }
}
