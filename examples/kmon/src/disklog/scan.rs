//! Finds the state of a log in its files: which output it is of, and up to which byte (`format`,
//! D1).

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use super::format::{FileMark, Line, MAX_WRITTEN, Mark};
use super::stamp::Stamp;

/// The state of a log after the lines of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// The newest `file` mark; its position is that after the last line.
    pub(super) mark: FileMark,
    /// The time of the last line.
    pub(super) time: Stamp,
    /// Bytes up to the end of the last whole line.
    pub(super) len: u64,
    /// It has lines that KMON did not write.
    pub(super) damaged: bool,
}

/// Opens a file of a log to read its lines.
pub(super) fn open(path: &Path, compressed: bool) -> io::Result<Box<dyn BufRead + Send>> {
    let file = BufReader::with_capacity(64 * 1024, File::open(path)?);
    if !compressed {
        return Ok(Box::new(file));
    }
    Ok(Box::new(BufReader::new(MultiGzDecoder::new(file))))
}

/// Reads the lines of a file. Returns `None` if it does not start with a `file` mark.
///
/// # Errors
/// It cannot be read.
pub(super) fn scan(mut lines: impl BufRead) -> io::Result<Option<Found>> {
    let mut found: Option<Found> = None;
    let mut text = Vec::new();
    let mut len = 0;
    while let Some(is_whole) = next_line(&mut lines, &mut text)? {
        if !is_whole {
            break;
        }
        len += text.len() as u64 + 1;
        let line = Line::parse(&text);
        let Some(found) = &mut found else {
            let mark = line.and_then(|line| line.mark());
            let (Some(line), Some(Mark::File(mark))) = (line, mark) else {
                return Ok(None);
            };
            found = Some(Found {
                mark,
                time: line.time,
                len,
                damaged: false,
            });
            continue;
        };
        found.len = len;
        let Some((line, count)) = line.and_then(|line| Some((line, line.output_len()?))) else {
            found.damaged = true;
            continue;
        };
        found.time = line.time;
        found.mark.byte = found.mark.byte.saturating_add(count);
        match line.mark() {
            Some(Mark::File(mark)) => found.mark = mark,
            Some(Mark::Dropped(count)) => {
                found.mark.dropped = found.mark.dropped.saturating_add(count);
            }
            Some(Mark::Missed(count)) => {
                found.mark.byte = found.mark.byte.saturating_add(count);
            }
            _ => {}
        }
    }
    Ok(found)
}

/// Reads the next line into `text`, without its line end. Returns `None` at the end, and false for
/// the start of a line that has no end.
pub(super) fn next_line(lines: &mut impl BufRead, text: &mut Vec<u8>) -> io::Result<Option<bool>> {
    text.clear();
    // A file that KMON did not write may have a line of any length.
    let mut bounded = io::Read::take(&mut *lines, 2 * MAX_WRITTEN as u64);
    bounded.read_until(b'\n', text)?;
    if text.is_empty() {
        return Ok(None);
    }
    let is_whole = text.pop_if(|last| *last == b'\n').is_some();
    Ok(Some(is_whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: &str = "2026-11-30T11:34:56.789Z";

    fn found(text: &str) -> Option<Found> {
        scan(text.replace("T ", &format!("{T} ")).as_bytes()).unwrap()
    }

    #[test]
    fn the_position_follows_from_the_lines_and_a_torn_line_does_not_count() {
        let text = "T # file 3, kmon, notices 00000000000000ff, byte 10, dropped 3\nT | ab\nT : \\x1b\nT + c\n\
                    T # the instance dropped 4 bytes\nT # missed 100 bytes\nT # something new\n";
        let state = found(text).unwrap();
        assert_eq!((state.mark.file, state.mark.id), (3, 255));
        assert_eq!(state.mark.byte, 10 + 4 + 2 + 1 + 100);
        assert_eq!((state.mark.dropped, state.damaged), (7, false));
        for torn in ["2026", "T # missed 5 bytes", "T | "] {
            assert_eq!(found(&format!("{text}{torn}")), Some(state.clone()));
        }
        let again = found(&format!(
            "{text}T # file 3, a, output 1, byte 7, dropped 0\nT : x\n"
        ))
        .unwrap();
        assert_eq!((again.mark.id, again.mark.byte), (1, 9));
    }

    #[test]
    fn a_file_that_kmon_did_not_write_is_recognized() {
        assert_eq!(found(""), None);
        assert_eq!(found("T | ab\n"), None);
        let start = "T # file 1, kmon, notices 0, byte 0, dropped 0\n";
        assert!(found(&format!("{start}hello\nT : a\n")).unwrap().damaged);
    }
}
