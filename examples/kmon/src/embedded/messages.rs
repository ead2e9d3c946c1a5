//! Turns messages of an instance's processes into notices of bounded length and rate.
//!
//! The instance controls these processes. So a line without an end uses at most [`MAX_LINE`] bytes
//! of KMON's memory, and a flood of lines is counted instead of shown.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

use crate::allowance::Allowance;
use crate::text;

/// A line that is repeated within this time is forwarded once.
const REPEATED: Duration = Duration::from_secs(3);
/// How many lines are remembered for this.
const MANY: usize = 64;
/// How many bytes of a line are kept.
const MAX_LINE: usize = 1024;

/// Forwards the lines, except repeated ones and those above the allowed rate.
pub(super) fn listen(messages: File, mut report: impl FnMut(String) + Send + 'static) {
    std::thread::spawn(move || {
        let mut messages = BufReader::new(messages);
        let mut recent = HashMap::<String, Instant>::new();
        let (mut allowance, mut left_out) = (Allowance::default(), 0_u64);
        while let Some(line) = read_line(&mut messages) {
            recent.retain(|_, at| at.elapsed() < REPEATED);
            if recent.len() > MANY {
                recent.clear();
            }
            if recent.insert(line.clone(), Instant::now()).is_some() {
                continue;
            }
            if !allowance.take() {
                left_out += 1;
                continue;
            }
            if left_out > 0 {
                let count = std::mem::take(&mut left_out);
                report(format!("{count} lines of its messages are not shown"));
            }
            report(line);
        }
    });
}

/// Returns the next line, escaped and cut at [`MAX_LINE`] bytes; `None` at the end.
fn read_line(messages: &mut impl BufRead) -> Option<String> {
    let (mut line, mut len, mut ended) = (Vec::new(), 0, false);
    while !ended {
        let available = match messages.fill_buf() {
            Ok([]) | Err(_) => break,
            Ok(available) => available,
        };
        let end = available.iter().position(|&byte| byte == b'\n');
        let part = &available[..end.unwrap_or(available.len())];
        line.extend_from_slice(&part[..part.len().min(MAX_LINE - line.len())]);
        len += part.len();
        ended = end.is_some();
        let used = part.len() + usize::from(ended);
        messages.consume(used);
    }
    if len == 0 && !ended {
        return None;
    }
    let mut text = text::escaped(String::from_utf8_lossy(&line).trim_end());
    if len > line.len() {
        text.push_str(&format!("... ({len} bytes)"));
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_cut_and_states_its_length() {
        let endless = [b'x'; 100_000];
        let mut input = &[b"short\r\n", &endless[..], b"\n\nlast"].concat()[..];
        assert_eq!(read_line(&mut input).unwrap(), "short");
        let long = read_line(&mut input).unwrap();
        assert!(
            long.len() < 1100 && long.ends_with("x... (100000 bytes)"),
            "{long}"
        );
        assert_eq!(read_line(&mut input).unwrap(), "");
        assert_eq!(read_line(&mut input).unwrap(), "last");
        assert_eq!(read_line(&mut input), None);
    }

    #[test]
    fn a_flood_of_lines_is_counted_and_the_count_is_shown() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let (seen, lines) = std::sync::mpsc::channel();
        listen(
            File::from(std::os::fd::OwnedFd::from(reader)),
            move |line| {
                seen.send(line).unwrap();
            },
        );
        let flood: String = (0..5000).map(|number| format!("line {number}\n")).collect();
        std::io::Write::write_all(&mut writer, flood.as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(1200));
        std::io::Write::write_all(&mut writer, b"later\n").unwrap();
        drop(writer);
        let lines: Vec<String> = lines.iter().collect();
        assert!(lines.len() < 30, "{}", lines.len());
        let count = lines.iter().find(|line| line.ends_with("are not shown"));
        assert!(
            count.is_some() && lines.last().unwrap() == "later",
            "{lines:?}"
        );
    }
}
