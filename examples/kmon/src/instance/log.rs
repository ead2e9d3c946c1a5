//! The bounded record of what an instance printed.
//!
//! - **L1** Positions count every byte since the instance was first started;
//!   they never go back, a restart included.
//! - **L2** `start <= seen <= end`, and `end - start <= capacity`, or what is
//!   beyond the capacity was appended patiently and is unseen.
//! - **L3** A byte that leaves before an operator saw it is counted in `lost`.
//! - **L4** `modes` are those of a terminal that was shown everything up to `seen`.

use std::collections::VecDeque;

use super::modes::Modes;

/// The newest bytes an instance printed, and how far an operator has read.
#[derive(Debug)]
pub(crate) struct OutputLog {
    bytes: VecDeque<u8>,
    capacity: usize,
    end: u64,
    seen: u64,
    modes: Modes,
    lost: u64,
    /// Position behind the newest line's end.
    line_start: u64,
}

impl OutputLog {
    /// An unfinished line longer than this is not shown a second time.
    const MAX_LAST_LINE: usize = 512;

    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            bytes: VecDeque::new(),
            capacity,
            end: 0,
            seen: 0,
            modes: Modes::default(),
            lost: 0,
            line_start: 0,
        }
    }

    /// Position of the oldest byte that is kept.
    pub(crate) fn start(&self) -> u64 {
        self.end - self.bytes.len() as u64
    }

    /// Position behind the newest byte.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Position up to which an operator has seen the output.
    pub(crate) fn seen(&self) -> u64 {
        self.seen
    }

    /// Position at which the newest line starts.
    pub(crate) fn line_start(&self) -> u64 {
        self.line_start
    }

    /// Bytes that nobody has seen yet.
    pub(crate) fn unseen(&self) -> u64 {
        self.end - self.seen
    }

    /// Bytes that were overwritten before anybody saw them.
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    /// The modes of a terminal that was shown everything up to `seen`.
    pub(crate) fn modes(&self) -> &Modes {
        &self.modes
    }

    /// Appends `output`; the oldest bytes make room.
    pub(crate) fn append(&mut self, output: &[u8]) {
        self.grow(output);
        self.shrink(usize::MAX);
    }

    /// Appends `output`; only bytes that were seen make room. For a caller that
    /// stops appending while much is unseen (L2 holds again when it was seen).
    pub(crate) fn append_patiently(&mut self, output: &[u8]) {
        self.grow(output);
        let seen = usize::try_from(self.seen - self.start()).unwrap_or(0);
        self.shrink(seen);
    }

    fn grow(&mut self, output: &[u8]) {
        if let Some(newline) = output.iter().rposition(|&byte| byte == b'\n') {
            self.line_start = self.end + newline as u64 + 1;
        }
        self.bytes.extend(output);
        self.end += output.len() as u64;
    }

    /// Drops what is beyond the capacity, at most `max` bytes.
    fn shrink(&mut self, max: usize) {
        let excess = self.bytes.len().saturating_sub(self.capacity).min(max);
        let unseen_from = self.end - self.bytes.len() as u64 + excess as u64;
        if unseen_from > self.seen {
            self.lost += unseen_from - self.seen;
            self.mark_seen(unseen_from);
        }
        self.bytes.drain(..excess);
    }

    /// Up to `max` bytes from `position` on (or from the oldest byte, if that
    /// is newer), with the position they start at.
    pub(crate) fn read(&self, position: u64, max: usize) -> (u64, Vec<u8>) {
        let from = position.clamp(self.start(), self.end);
        let skip = usize::try_from(from - self.start()).unwrap_or(usize::MAX);
        (
            from,
            self.bytes.iter().skip(skip).take(max).copied().collect(),
        )
    }

    /// An operator has seen everything up to `position`.
    pub(crate) fn mark_seen(&mut self, position: u64) {
        let to = position.min(self.end);
        if to <= self.seen {
            return;
        }
        let len = usize::try_from(to - self.seen).unwrap_or(usize::MAX);
        let (_, shown) = self.read(self.seen, len);
        self.modes.feed(&shown);
        self.seen = to;
    }

    /// The unfinished line in front of `seen`: the prompt the cursor stood at.
    pub(crate) fn last_line(&self) -> Vec<u8> {
        let back = self.seen.saturating_sub(Self::MAX_LAST_LINE as u64);
        let from = back.max(self.start());
        let len = usize::try_from(self.seen - from).unwrap_or(0);
        let (_, tail) = self.read(from, len);
        match tail.iter().rposition(|&byte| byte == b'\n') {
            Some(newline) => tail[newline + 1..].to_vec(),
            None if from == 0 => tail,
            None => Vec::new(),
        }
    }

    /// A new life of the instance starts on a fresh terminal.
    pub(crate) fn new_life(&mut self) {
        if self.end > 0 && self.bytes.back() != Some(&b'\n') {
            let all_seen = self.unseen() == 0;
            self.append(b"\r\n");
            if all_seen {
                self.mark_seen(self.end);
            }
        }
        self.modes = Modes::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_stay_true_when_old_bytes_leave() {
        let mut log = OutputLog::new(8);
        log.append(b"0123456789");
        assert_eq!((log.start(), log.end(), log.seen()), (2, 10, 2));
        assert_eq!(log.lost(), 2);
        assert_eq!(log.read(0, 3), (2, b"234".to_vec()));
        assert_eq!(log.read(9, 100), (9, b"9".to_vec()));
        assert_eq!(log.read(99, 100), (10, Vec::new()));
    }

    #[test]
    fn what_was_seen_is_not_lost_when_it_leaves() {
        let mut log = OutputLog::new(4);
        log.append(b"abcd");
        log.mark_seen(4);
        log.append(b"efgh");
        assert_eq!((log.lost(), log.unseen()), (0, 4));
        log.append(b"ij");
        assert_eq!((log.lost(), log.unseen()), (2, 4));
    }

    #[test]
    fn output_longer_than_the_log_keeps_its_end() {
        let mut log = OutputLog::new(4);
        log.append(b"abc");
        log.append(b"0123456789");
        assert_eq!(log.read(0, 100), (9, b"6789".to_vec()));
        assert_eq!(log.lost(), 9);
    }

    #[test]
    fn patience_keeps_what_is_unseen_and_no_more() {
        let mut log = OutputLog::new(4);
        log.append_patiently(b"abcdef");
        assert_eq!((log.lost(), log.read(0, 10)), (0, (0, b"abcdef".to_vec())));
        log.mark_seen(6);
        log.append_patiently(b"g");
        assert_eq!((log.lost(), log.read(0, 10)), (0, (3, b"defg".to_vec())));
    }

    #[test]
    fn modes_follow_what_was_seen_even_if_it_was_overwritten_unseen() {
        let mut log = OutputLog::new(8);
        log.append(b"\x1b[?1049h");
        assert!(!log.modes().alternate());
        log.append(b"12345678");
        assert!(log.modes().alternate());
    }

    #[test]
    fn the_last_line_is_the_prompt_that_was_shown() {
        let mut log = OutputLog::new(4096);
        log.append(b"ls\r\nbin\r\n[part2root@~]$ ");
        log.mark_seen(log.end());
        assert_eq!(log.line_start(), 9);
        log.append(b"not yet seen\n");
        assert_eq!(log.last_line(), b"[part2root@~]$ ");
        log.mark_seen(log.end());
        assert!(log.last_line().is_empty());
    }
}
