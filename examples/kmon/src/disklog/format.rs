//! The lines of a log file.
//!
//! ```text
//! 2026-11-30T11:34:56.789Z # file 18, instance 2 (web), output 8c1f22aa5c6d7e8f, byte 0, dropped 0
//! 2026-11-30T11:34:56.789Z | Welcome
//! 2026-11-30T11:34:57.120Z + login:
//! 2026-11-30T11:35:02.004Z |  root
//! 2026-11-30T11:35:09.313Z # missed 4096 bytes
//! ```
//!
//! A line is a time ([`super::stamp`]), a space, a kind, and, unless the text is empty, a space and
//! the text ([`super::escape`]).
//!
//! | kind | the text is                                                    |
//! |------|----------------------------------------------------------------|
//! | `|`  | output that ended in CR LF, as terminals send it               |
//! | `:`  | output that ended in LF                                        |
//! | `+`  | output without its end, which the next line continues          |
//! | `#`  | not output: a mark of KMON's                                   |
//!
//! - **D1** The first line of a file is a `file` mark, which tells the position of the next byte of
//!   output. So the position after each line follows from the lines alone.
//! - **D2** Output cannot make a mark: the kind is KMON's, and the text has no line end.

use super::escape::{escape, unescape, unescaped_len};
use super::stamp::{STAMP_LEN, Stamp};

/// Bytes of output in one line at most; longer lines are cut into parts.
pub(super) const MAX_LINE: usize = 8 * 1024;
/// Bytes of the longest line of a file.
pub(super) const MAX_WRITTEN: usize = STAMP_LEN + 4 + 4 * MAX_LINE;

/// What a line of a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    CrLf,
    Lf,
    Part,
    Mark,
}

impl Kind {
    fn letter(self) -> u8 {
        match self {
            Self::CrLf => b'|',
            Self::Lf => b':',
            Self::Part => b'+',
            Self::Mark => b'#',
        }
    }

    fn from_letter(letter: u8) -> Option<Self> {
        let all = [Self::CrLf, Self::Lf, Self::Part, Self::Mark];
        all.into_iter().find(|kind| kind.letter() == letter)
    }

    /// Returns the end of the output's line, which is not in the text.
    fn end(self) -> &'static [u8] {
        match self {
            Self::CrLf => b"\r\n",
            Self::Lf => b"\n",
            Self::Part | Self::Mark => b"",
        }
    }
}

/// The text of a mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// The following lines are of this output, from this byte on.
    File(FileMark),
    /// Bytes of output that were overwritten before they were written here.
    Missed(u64),
    /// Bytes of output that the instance dropped, about here. They have no position.
    Dropped(u64),
    /// The clock was set back by this many seconds.
    ClockSetBack(u64),
    /// The file had lines that KMON did not write.
    Damaged,
}

/// The mark at the start of a file, and where another output begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileMark {
    /// Files of a log count from 1.
    pub(super) file: u64,
    /// Whose output it is, such as `instance 2 (web)`.
    pub(super) owner: String,
    /// What it is: `output`, `kernel` or `notices`.
    pub(super) what: String,
    /// Identifies the output whose bytes are counted.
    pub(super) id: u64,
    /// The position of the next byte.
    pub(super) byte: u64,
    /// Bytes without a position that the marks before have counted.
    pub(super) dropped: u64,
}

impl Mark {
    fn text(&self) -> String {
        match self {
            Self::File(FileMark {
                file,
                owner,
                what,
                id,
                byte,
                dropped,
            }) => format!("file {file}, {owner}, {what} {id:016x}, byte {byte}, dropped {dropped}"),
            Self::Dropped(count) => format!("the instance dropped {count} bytes"),
            Self::Missed(count) => format!("missed {count} bytes"),
            Self::ClockSetBack(seconds) => format!("the clock was set back by {seconds} s"),
            Self::Damaged => "damaged above: output may be missing or repeated here".into(),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let number = |text: &str| text.parse().ok();
        let counted = |before, after| text.strip_prefix(before)?.strip_suffix(after);
        if let Some(count) = counted("missed ", " bytes") {
            return number(count).map(Self::Missed);
        }
        if let Some(seconds) = counted("the clock was set back by ", " s") {
            return number(seconds).map(Self::ClockSetBack);
        }
        if let Some(count) = counted("the instance dropped ", " bytes") {
            return number(count).map(Self::Dropped);
        }
        if *text == Self::Damaged.text() {
            return Some(Self::Damaged);
        }
        let mut parts = text.strip_prefix("file ")?.split(", ");
        let file = number(parts.next()?)?;
        let owner = parts.next()?.to_owned();
        let (what, id) = parts.next()?.rsplit_once(' ')?;
        let byte = number(parts.next()?.strip_prefix("byte ")?)?;
        let dropped = number(parts.next()?.strip_prefix("dropped ")?)?;
        let id = u64::from_str_radix(id, 16).ok()?;
        let what = what.to_owned();
        parts.next().is_none().then_some(Self::File(FileMark {
            file,
            owner,
            what,
            id,
            byte,
            dropped,
        }))
    }
}

/// A line of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub(super) time: Stamp,
    pub(super) kind: Kind,
    text: &'a [u8],
}

impl<'a> Line<'a> {
    /// Reads a line, which is passed without its line end; `None` if KMON did not write it.
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        let (time, rest) = line.split_at_checked(STAMP_LEN)?;
        let [b' ', letter, rest @ ..] = rest else {
            return None;
        };
        let text = match rest {
            [] => rest,
            [b' ', text @ ..] if !text.is_empty() => text,
            _ => return None,
        };
        Some(Self {
            time: Stamp::parse(time)?,
            kind: Kind::from_letter(*letter)?,
            text,
        })
    }

    /// Returns the mark; `None` if KMON writes no such mark.
    pub(super) fn mark(&self) -> Option<Mark> {
        let text = str::from_utf8(self.text).ok()?;
        (self.kind == Kind::Mark).then(|| Mark::parse(text))?
    }

    /// Returns how many bytes of output it is; `None` if KMON did not write it.
    pub(super) fn output_len(&self) -> Option<u64> {
        match self.kind {
            Kind::Mark => Some(0),
            kind => Some((unescaped_len(self.text)? + kind.end().len()) as u64),
        }
    }

    /// Returns the output without its line end; `None` if KMON did not write it.
    pub(super) fn output(&self) -> Option<Vec<u8>> {
        unescape(self.text)
    }
}

/// Appends a line of output, which is passed without its line end.
pub(super) fn put_output(to: &mut Vec<u8>, time: Stamp, kind: Kind, output: &[u8]) {
    put_start(to, time, kind, !output.is_empty());
    escape(output, to);
    to.push(b'\n');
}

/// Appends a mark.
pub(super) fn put_mark(to: &mut Vec<u8>, time: Stamp, mark: &Mark) {
    put_start(to, time, Kind::Mark, true);
    to.extend_from_slice(mark.text().as_bytes());
    to.push(b'\n');
}

fn put_start(to: &mut Vec<u8>, time: Stamp, kind: Kind, has_text: bool) {
    to.extend_from_slice(time.to_string().as_bytes());
    to.extend_from_slice(&[b' ', kind.letter()]);
    if has_text {
        to.push(b' ');
    }
}

/// Returns the output's first line: what it is, its bytes without the line end, and how many bytes
/// it has with it. `None` if the line has not ended yet and is not too long.
pub(super) fn first_line(output: &[u8]) -> Option<(Kind, &[u8], usize)> {
    let start = &output[..output.len().min(MAX_LINE)];
    let Some(end) = start.iter().position(|&byte| byte == b'\n') else {
        let part = (output.len() >= MAX_LINE).then(|| whole_letters(start))?;
        return Some((Kind::Part, part, part.len()));
    };
    match start[..end].strip_suffix(b"\r") {
        Some(line) => Some((Kind::CrLf, line, end + 1)),
        None => Some((Kind::Lf, &start[..end], end + 1)),
    }
}

/// Returns `part` without an unfinished letter at its end.
fn whole_letters(part: &[u8]) -> &[u8] {
    let from = part.len().saturating_sub(3);
    let starts = part[from..].iter().rposition(|&byte| byte >= 0xc0);
    match starts.map(|at| from + at) {
        Some(start) if start > 0 && str::from_utf8(&part[start..]).is_err() => &part[..start],
        _ => part,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Stamp = Stamp::from_millis(1_796_038_496_789);

    fn written(kind: Kind, output: &[u8]) -> String {
        let mut line = Vec::new();
        put_output(&mut line, TIME, kind, output);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn a_line_of_output_is_text_with_its_time_and_is_read_back() {
        let line = written(Kind::CrLf, b" \x1b[1mWelcome");
        assert_eq!(line, "2026-11-30T11:34:56.789Z |  \\x1b[1mWelcome\n");
        for kind in [Kind::CrLf, Kind::Lf, Kind::Part] {
            for output in [&b""[..], b" ", b"# file 1", b"a\rb\\", b"\xff\0"] {
                let line = written(kind, output);
                let line = Line::parse(line.strip_suffix('\n').unwrap().as_bytes()).unwrap();
                assert_eq!((line.time, line.kind, line.mark()), (TIME, kind, None));
                assert_eq!(line.output().unwrap(), output);
                let len = output.len() + kind.end().len();
                assert_eq!(line.output_len(), Some(len as u64));
            }
        }
    }

    #[test]
    fn a_mark_is_read_back() {
        let file = FileMark {
            file: 18,
            owner: "instance 2 (web)".into(),
            what: "output".into(),
            id: 0x8c1f,
            byte: u64::MAX,
            dropped: 5,
        };
        for mark in [
            Mark::File(file),
            Mark::Missed(7),
            Mark::Dropped(7),
            Mark::ClockSetBack(3600),
            Mark::Damaged,
        ] {
            let mut line = Vec::new();
            put_mark(&mut line, TIME, &mark);
            let line = Line::parse(line.strip_suffix(b"\n").unwrap()).unwrap();
            assert_eq!((line.mark(), line.output_len()), (Some(mark), Some(0)));
        }
    }

    #[test]
    fn other_lines_are_refused() {
        for line in [
            "",
            "hello",
            "2026-11-30T11:34:56.789Z",
            "2026-11-30T11:34:56.789Z |x",
            "2026-11-30T11:34:56.789Z | ",
            "2026-11-30T11:34:56.789Z ? x",
        ] {
            assert_eq!(Line::parse(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn output_is_cut_into_lines_and_long_lines_between_letters() {
        assert_eq!(first_line(b"ab\r\ncd"), Some((Kind::CrLf, &b"ab"[..], 4)));
        assert_eq!(first_line(b"\n"), Some((Kind::Lf, &b""[..], 1)));
        assert_eq!(first_line(b"unfinished"), None);
        let long = format!("{}漢{}", "x".repeat(MAX_LINE - 1), "y".repeat(10));
        let (kind, part, len) = first_line(long.as_bytes()).unwrap();
        assert_eq!(
            (kind, part.len(), len),
            (Kind::Part, MAX_LINE - 1, MAX_LINE - 1)
        );
        let (_, part, _) = first_line(&[0xff; MAX_LINE]).unwrap();
        assert!(part.len() >= MAX_LINE - 3);
    }
}
