//! What is on the line that an operator types, as far as that can be told.

/// The word that leaves the console when it is a whole line.
pub(super) const WORD: &[u8] = b"kmexitconsole";

/// What an operator has typed on the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// So many bytes of [`WORD`] are typed since the start and held back (F2).
    Held(usize),
    /// This is on the line, as far as plain characters tell.
    Sent(Vec<u8>),
    /// Who knows what is on the line.
    Unknown,
    /// A key or the terminal has begun an escape sequence on this line.
    Escape(Box<Line>, Stage),
}

/// How far an escape sequence has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Begun,
    /// Numbers follow, and a letter that ends it.
    Numbers,
}

impl Line {
    /// A line longer than this is not followed.
    const MAX: usize = 128;

    /// The line that the instance has begun by itself.
    pub(super) fn anew(self) -> Self {
        match self {
            Self::Held(held) => Self::Held(held),
            Self::Escape(_, stage) => Self::Escape(Box::new(Self::Held(0)), stage),
            _ => Self::Held(0),
        }
    }

    /// The line with `byte` typed behind what was sent of it.
    pub(super) fn with(self, byte: u8) -> Self {
        let mut sent = match self {
            _ if matches!(byte, b'\r' | b'\n' | 0x03 | 0x04 | 0x15) => return Self::Held(0),
            Self::Escape(line, stage) => return line.with_sequence(stage, byte),
            line if byte == 0x1b => return Self::Escape(Box::new(line), Stage::Begun),
            Self::Unknown => return Self::Unknown,
            Self::Held(held) => WORD[..held].to_vec(),
            Self::Sent(sent) => sent,
        };
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b' ';
        match byte {
            b' '..=b'~' if sent.len() < Self::MAX => sent.push(byte),
            0x08 | 0x7f => drop(sent.pop()),
            // What else ends a word is one way or the other to each program.
            0x17 if sent.iter().all(plain) => {
                let words = sent.trim_ascii_end();
                let kept = words.iter().rposition(|byte| *byte == b' ');
                sent.truncate(kept.map_or(0, |space| space + 1));
            }
            _ => return Self::Unknown,
        }
        if sent.is_empty() {
            return Self::Held(0);
        }
        Self::Sent(sent)
    }

    /// The line behind `byte` of an escape sequence: as it was, if that is the terminal's answer
    /// to a question of the instance's (where the cursor is, what the terminal is), and
    /// nothing that was typed.
    fn with_sequence(self: Box<Self>, stage: Stage, byte: u8) -> Self {
        match (stage, byte) {
            (Stage::Begun, b'[') => Self::Escape(self, Stage::Numbers),
            (Stage::Numbers, b'0'..=b'9' | b';' | b'?') => Self::Escape(self, stage),
            (Stage::Numbers, b'R' | b'c' | b'n' | b't') => *self,
            _ => Self::Unknown,
        }
    }
}
