//! Follows the content of the line that an operator types.

/// The word that leaves the console when it is a whole line.
pub(super) const WORD: &[u8] = b"kmexitconsole";

/// The content of the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// The line is a prefix of [`WORD`] of this length, which is held back (F2).
    Held(usize),
    /// The line has this content.
    Sent(Vec<u8>),
    /// The content is unknown.
    Unknown,
    /// A key or the terminal has begun an escape sequence on this line.
    Escape(Box<Line>, Stage),
}

/// How much of an escape sequence was typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Begun,
    /// Numbers and the final letter follow.
    Numbers,
}

impl Line {
    /// A line longer than this is not followed.
    const MAX: usize = 128;

    /// Returns the line after the instance has begun a new one.
    pub(super) fn after_newline(self) -> Self {
        match self {
            Self::Held(held) => Self::Held(held),
            Self::Escape(_, stage) => Self::Escape(Box::new(Self::Held(0)), stage),
            _ => Self::Held(0),
        }
    }

    /// Returns the line after `byte` was typed and sent.
    pub(super) fn push(self, byte: u8) -> Self {
        let mut sent = match self {
            _ if matches!(byte, b'\r' | b'\n' | 0x03 | 0x04 | 0x15) => return Self::Held(0),
            Self::Escape(line, stage) => return line.push_to_sequence(stage, byte),
            line if byte == 0x1b => return Self::Escape(Box::new(line), Stage::Begun),
            Self::Unknown => return Self::Unknown,
            Self::Held(held) => WORD[..held].to_vec(),
            Self::Sent(sent) => sent,
        };
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b' ';
        match byte {
            b' '..=b'~' if sent.len() < Self::MAX => sent.push(byte),
            0x08 | 0x7f => drop(sent.pop()),
            // Programs differ in which other characters end a word.
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

    /// Returns the line after `byte` of an escape sequence. The line is unchanged if the sequence
    /// is the terminal's answer to a question of the instance (the cursor's position, the
    /// terminal's type), which was not typed.
    fn push_to_sequence(self: Box<Self>, stage: Stage, byte: u8) -> Self {
        match (stage, byte) {
            (Stage::Begun, b'[') => Self::Escape(self, Stage::Numbers),
            (Stage::Numbers, b'0'..=b'9' | b';' | b'?') => Self::Escape(self, stage),
            (Stage::Numbers, b'R' | b'c' | b'n' | b't') => *self,
            _ => Self::Unknown,
        }
    }
}
