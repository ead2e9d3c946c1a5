//! Follows a terminal's output and remembers which modes it has set.
//!
//! A program that runs when the operator leaves a console (`vi`, `top`, a shell with bracketed
//! paste) has set modes of the operator's terminal. KMON resets them when it leaves the console and
//! sets them again when it returns. A sequence may be cut between any two bytes.

/// The private modes that are followed, in the order in which they are set again.
const FOLLOWED: [u16; 12] = [
    47, 1047, 1049, 1, 25, 1000, 1002, 1003, 1004, 1006, 1015, 2004,
];
const CURSOR: u16 = 25;
const ALTERNATE: [u16; 3] = [47, 1047, 1049];

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Parsing {
    #[default]
    Text,
    Escape,
    /// After `ESC [`.
    Sequence,
    /// After `ESC [ ?`.
    Private,
}

/// The modes a terminal is in after some output.
#[derive(Clone, Debug, Default)]
pub(crate) struct Modes {
    parsing: Parsing,
    /// The parameters of the private sequence that is being read.
    parameters: Vec<u16>,
    /// Bit `i`: mode `FOLLOWED[i]` differs from a new terminal.
    changed: u16,
    /// The keypad sends application codes (`ESC =`).
    keypad: bool,
}

impl Modes {
    /// More parameters than any program sends at once.
    const MAX_PARAMETERS: usize = 16;

    /// Follows `output`.
    pub(crate) fn feed(&mut self, output: &[u8]) {
        for &byte in output {
            self.feed_byte(byte);
        }
    }

    /// Returns true if the alternate screen is shown, as by full-screen programs.
    pub(crate) fn alternate(&self) -> bool {
        ALTERNATE.iter().any(|&mode| self.is_changed(mode))
    }

    /// Returns the modes as a word, without a sequence that is partly read.
    pub(crate) fn word(&self) -> u32 {
        u32::from(self.keypad) << 16 | u32::from(self.changed)
    }

    /// Returns the modes of a word, after output that ended in `tail`. If `tail` has the length of
    /// a sequence, a sequence that was partly read continues.
    pub(crate) fn from_word(word: u32, tail: &[u8]) -> Self {
        let mut modes = Self {
            changed: word as u16,
            keypad: word >> 16 & 1 != 0,
            ..Self::default()
        };
        // The word contains what the tail sets; setting it again changes nothing.
        modes.feed(tail);
        modes
    }

    /// Returns the output that resets a terminal in these modes.
    pub(crate) fn undo(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for &mode in FOLLOWED.iter().rev() {
            if self.is_changed(mode) {
                let end = if mode == CURSOR { 'h' } else { 'l' };
                out.extend_from_slice(format!("\x1b[?{mode}{end}").as_bytes());
            }
        }
        if self.keypad {
            out.extend_from_slice(b"\x1b>");
        }
        out
    }

    /// Returns the output that sets these modes on a new terminal.
    pub(crate) fn redo(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for mode in FOLLOWED {
            if self.is_changed(mode) {
                let end = if mode == CURSOR { 'l' } else { 'h' };
                out.extend_from_slice(format!("\x1b[?{mode}{end}").as_bytes());
            }
        }
        if self.keypad {
            out.extend_from_slice(b"\x1b=");
        }
        out
    }

    fn feed_byte(&mut self, byte: u8) {
        self.parsing = match (self.parsing, byte) {
            (_, 0x1b) => Parsing::Escape,
            (Parsing::Escape, b'[') => Parsing::Sequence,
            (Parsing::Escape, b'c') => {
                *self = Self::default();
                Parsing::Text
            }
            (Parsing::Escape, b'=' | b'>') => {
                self.keypad = byte == b'=';
                Parsing::Text
            }
            (Parsing::Sequence, b'?') => {
                self.parameters.clear();
                self.parameters.push(0);
                Parsing::Private
            }
            (Parsing::Private, b'0'..=b'9') => self.digit(byte),
            (Parsing::Private, b';') => self.next_parameter(),
            (Parsing::Private, b'h' | b'l') => self.switch(byte == b'h'),
            _ => Parsing::Text,
        };
    }

    fn digit(&mut self, byte: u8) -> Parsing {
        if let Some(last) = self.parameters.last_mut() {
            *last = last
                .saturating_mul(10)
                .saturating_add(u16::from(byte - b'0'));
        }
        Parsing::Private
    }

    fn next_parameter(&mut self) -> Parsing {
        if self.parameters.len() == Self::MAX_PARAMETERS {
            return Parsing::Text;
        }
        self.parameters.push(0);
        Parsing::Private
    }

    fn switch(&mut self, on: bool) -> Parsing {
        for (bit, mode) in FOLLOWED.iter().enumerate() {
            if self.parameters.contains(mode) {
                // The cursor is the one mode that is set on a new terminal.
                let changed = on != (*mode == CURSOR);
                self.changed = (self.changed & !(1 << bit)) | (u16::from(changed) << bit);
            }
        }
        Parsing::Text
    }

    fn is_changed(&self, mode: u16) -> bool {
        let bit = FOLLOWED.iter().position(|&followed| followed == mode);
        bit.is_some_and(|bit| self.changed & (1 << bit) != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(output: &[u8]) -> Modes {
        let mut modes = Modes::default();
        modes.feed(output);
        modes
    }

    #[test]
    fn each_sequence_for_the_alternate_screen_is_recognized() {
        for mode in ["47", "1047", "1049", "1049;25", "25;1049"] {
            let on = format!("text\x1b[?{mode}hmore");
            let off = format!("\x1b[?{mode}l");
            let mut modes = after(on.as_bytes());
            assert!(modes.alternate(), "{mode}");
            modes.feed(off.as_bytes());
            assert!(!modes.alternate(), "{mode}");
        }
    }

    #[test]
    fn a_sequence_cut_at_any_byte_is_recognized() {
        let output = b"\x1b[?1049h";
        for cut in 0..output.len() {
            let mut modes = after(&output[..cut]);
            assert!(!modes.alternate());
            modes.feed(&output[cut..]);
            assert!(modes.alternate(), "cut at {cut}");
        }
    }

    #[test]
    fn modes_are_restored_from_a_word_wherever_the_output_was_cut() {
        let output = b"\x1b[?2004h\x1b=\x1b[?25lx\x1b[?25h\x1bc\x1b[?1049hmore\x1b[?1;1006h.";
        for cut in 0..=output.len() {
            let mut modes = after(&output[..cut]);
            let tail = &output[cut.saturating_sub(16)..cut];
            let mut again = Modes::from_word(modes.word(), tail);
            modes.feed(&output[cut..]);
            again.feed(&output[cut..]);
            assert_eq!(again.word(), modes.word(), "cut at {cut}");
        }
    }

    #[test]
    fn undo_resets_the_modes_and_redo_sets_them_again() {
        let modes = after(b"\x1b[?1049h\x1b[?25l\x1b[?2004h\x1b=");
        assert_eq!(modes.undo(), b"\x1b[?2004l\x1b[?25h\x1b[?1049l\x1b>");
        assert_eq!(modes.redo(), b"\x1b[?1049h\x1b[?25l\x1b[?2004h\x1b=");
    }

    #[test]
    fn a_new_terminal_needs_no_reset() {
        assert!(
            after(b"ls\r\nbin dev\x1b[0m\x1b[?25h\x1b[?1049l")
                .undo()
                .is_empty()
        );
        assert!(after(b"\x1b[?1049h\x1bc").undo().is_empty());
    }

    #[test]
    fn an_endless_sequence_is_not_kept() {
        let mut modes = after(b"\x1b[?");
        for _ in 0..10_000 {
            modes.feed(b"99999;");
        }
        assert!(modes.parameters.len() <= Modes::MAX_PARAMETERS);
        assert!(modes.undo().is_empty());
    }
}
