//! The bounded record of what an instance printed. It outlives KMON.
//!
//! - **L1** Positions count every byte since the instance was first started;
//!   they never go back, a restart included.
//! - **L2** `start <= seen <= end`, and `end - start <= capacity`, or what is
//!   beyond the capacity was appended patiently and is unseen.
//! - **L3** A byte that leaves before an operator saw it is counted in `lost`.
//! - **L4** `modes` are those of a terminal that was shown everything up to `seen`.
//! - **L5** What a record of the result ring does to the log is stored at once,
//!   together with the record's position, by [`OutputLog::commit`], and before
//!   the record is released: a KMON that dies at it leaves a record that was
//!   handled, or one that was not.

use std::path::Path;

use super::modes::Modes;
use super::store::{Marks, Store};

/// The newest bytes an instance printed, and how far an operator has read.
pub(crate) struct OutputLog {
    store: Store,
    marks: Marks,
    modes: Modes,
    /// Where the newest incarnation of guestd begins, if that was while KMON was there.
    incarnation_start: u64,
}

impl OutputLog {
    /// An unfinished line longer than this is not shown a second time.
    const MAX_LAST_LINE: u64 = 512;
    /// Bytes that the sequence for a terminal mode may have.
    const MAX_SEQUENCE: u64 = 128;

    /// The log in `file`; a new one for `capacity` bytes if there is none.
    ///
    /// # Errors
    ///
    /// There is no room for it, or no right to it.
    pub(crate) fn open(file: &Path, capacity: usize) -> anyhow::Result<Self> {
        Ok(Self::over(Store::open(file, capacity)?))
    }

    /// A log that nobody finds again, with room for as many bytes more.
    #[cfg(test)]
    pub(crate) fn in_memory(capacity: usize) -> Self {
        let heap = shmem_core::mem::Heap::new(super::store::CIRCLE + 2 * capacity);
        let memory = Box::leak(Box::new(heap)).window();
        Self::over(Store::format(memory, capacity).expect("room"))
    }

    fn over((store, marks): (Store, Marks)) -> Self {
        let mut log = Self {
            store,
            marks,
            modes: Modes::default(),
            incarnation_start: 0,
        };
        let (_, tail) = log.read_seen(Self::MAX_SEQUENCE);
        log.modes = Modes::from_word(marks.modes, &tail);
        log
    }

    /// Position of the oldest byte that is kept.
    pub(crate) fn start(&self) -> u64 {
        self.marks.start
    }

    /// Position behind the newest byte.
    pub(crate) fn end(&self) -> u64 {
        self.marks.end
    }

    /// Position up to which an operator has seen the output.
    pub(crate) fn seen(&self) -> u64 {
        self.marks.seen
    }

    /// Position at which the newest line starts.
    pub(crate) fn line_start(&self) -> u64 {
        self.marks.line_start
    }

    /// Bytes that nobody has seen yet.
    pub(crate) fn unseen(&self) -> u64 {
        self.marks.end - self.marks.seen
    }

    /// Bytes that were overwritten before anybody saw them.
    pub(crate) fn lost(&self) -> u64 {
        self.marks.lost
    }

    /// Bytes that nobody got to see: those, and what guestd dropped in all its incarnations.
    pub(crate) fn dropped(&self) -> u64 {
        let by_guestd = self.marks.dropped_before.saturating_add(self.marks.dropped);
        self.marks.lost.saturating_add(by_guestd)
    }

    /// Commands that were discarded at a restart.
    pub(crate) fn discarded(&self) -> u64 {
        self.marks.discarded
    }

    /// The incarnation of guestd that printed last; 0 before the first.
    pub(crate) fn incarnation(&self) -> u32 {
        self.marks.incarnation
    }

    /// Whether an operator has seen that this incarnation of guestd began.
    pub(crate) fn incarnation_seen(&self) -> bool {
        self.marks.seen >= self.incarnation_start
    }

    /// Position in the result ring of the record that was handled last.
    pub(crate) fn handled(&self) -> Option<u32> {
        self.marks.handled
    }

    /// The modes of a terminal that was shown everything up to `seen`.
    pub(crate) fn modes(&self) -> &Modes {
        &self.modes
    }

    /// Stores what became of the record at `position` of the result ring (L5).
    pub(crate) fn commit(&mut self, position: u32) {
        self.marks.handled = Some(position);
        self.save();
    }

    /// Appends `output`; the oldest bytes make room. Once between two commits.
    pub(crate) fn append(&mut self, output: &[u8]) {
        self.grow(output);
        self.shrink(u64::MAX);
    }

    /// Appends `output`; only bytes that were seen make room, as long as there is
    /// any. For a caller that stops appending while much is unseen (L2 holds
    /// again when it was seen).
    pub(crate) fn append_patiently(&mut self, output: &[u8]) {
        self.grow(output);
        self.shrink(self.marks.seen - self.marks.start);
    }

    /// Puts `output` behind the newest byte; it is not there before it is committed.
    fn grow(&mut self, output: &[u8]) {
        let len = output.len() as u64;
        let free = self.store.size() - (self.marks.end - self.marks.start);
        if free < len {
            // The bytes that it takes the place of leave first (`store`, F2).
            self.drop_oldest((len - free).min(self.marks.end - self.marks.start));
            self.save();
        }
        self.store.put(self.marks.end, output);
        if let Some(newline) = output.iter().rposition(|&byte| byte == b'\n') {
            self.marks.line_start = self.marks.end + newline as u64 + 1;
        }
        self.marks.end += len;
        let kept = self.marks.end - self.marks.start;
        self.drop_oldest(kept.saturating_sub(self.store.size()));
    }

    /// Drops what is beyond the capacity, at most `max` bytes.
    fn shrink(&mut self, max: u64) {
        let kept = self.marks.end - self.marks.start;
        self.drop_oldest(kept.saturating_sub(self.marks.capacity).min(max));
    }

    fn drop_oldest(&mut self, count: u64) {
        let start = self.marks.start + count;
        if start > self.marks.seen {
            self.marks.lost += start - self.marks.seen;
            self.see(start);
        }
        self.marks.start = start;
    }

    /// Up to `max` bytes from `position` on (or from the oldest byte, if that
    /// is newer), with the position they start at.
    pub(crate) fn read(&self, position: u64, max: usize) -> (u64, Vec<u8>) {
        let from = position.clamp(self.marks.start, self.marks.end);
        let len = usize::try_from(self.marks.end - from).unwrap_or(usize::MAX);
        let mut bytes = vec![0; len.min(max)];
        self.store.get(from, &mut bytes);
        (from, bytes)
    }

    /// The last `max` bytes that were seen, or what is kept of them, with the
    /// position they start at.
    fn read_seen(&self, max: u64) -> (u64, Vec<u8>) {
        let from = self.marks.seen.saturating_sub(max).max(self.marks.start);
        let len = usize::try_from(self.marks.seen - from).unwrap_or(usize::MAX);
        self.read(from, len)
    }

    /// An operator has seen everything up to `position`.
    pub(crate) fn mark_seen(&mut self, position: u64) {
        self.see(position);
        self.save();
    }

    fn see(&mut self, position: u64) {
        let to = position.min(self.marks.end);
        if to <= self.marks.seen {
            return;
        }
        let len = usize::try_from(to - self.marks.seen).unwrap_or(usize::MAX);
        let (_, shown) = self.read(self.marks.seen, len);
        self.modes.feed(&shown);
        self.marks.seen = to;
    }

    fn save(&mut self) {
        self.marks.modes = self.modes.word();
        self.store.save(&self.marks);
    }

    /// The unfinished line in front of `seen`: the prompt the cursor stood at.
    pub(crate) fn last_line(&self) -> Vec<u8> {
        let (from, tail) = self.read_seen(Self::MAX_LAST_LINE);
        match tail.iter().rposition(|&byte| byte == b'\n') {
            Some(newline) => tail[newline + 1..].to_vec(),
            None if from == 0 => tail,
            None => Vec::new(),
        }
    }

    /// So many bytes the present incarnation of guestd has dropped, in all.
    pub(crate) fn note_dropped(&mut self, bytes: u64) {
        self.marks.dropped = self.marks.dropped.max(bytes);
    }

    /// So many commands more were discarded.
    pub(crate) fn note_discarded(&mut self, commands: u64) {
        self.marks.discarded = self.marks.discarded.saturating_add(commands);
    }

    /// The instance gets a fresh region, and with it a fresh terminal.
    pub(crate) fn new_region(&mut self) {
        let all_seen = self.unseen() == 0;
        self.append(&self.end_of_terminal());
        if all_seen {
            // It would be the only thing to see.
            self.see(self.marks.end);
        }
        self.end_incarnation(0);
        self.marks.handled = None;
        self.save();
    }

    /// What follows is from guestd's incarnation number `incarnation`, with a shell of its
    /// own. False if it was already; else whether that is a restart.
    pub(crate) fn new_incarnation(&mut self, incarnation: u32) -> bool {
        if self.marks.incarnation == incarnation {
            return false;
        }
        let restarted = incarnation != 1;
        if restarted {
            let mut end = self.end_of_terminal();
            let note = format!(
                "[kmon: guestd was restarted (incarnation {incarnation}): a new shell]\r\n"
            );
            end.extend_from_slice(note.as_bytes());
            self.append(&end);
            self.incarnation_start = self.marks.end;
        }
        self.end_incarnation(incarnation);
        restarted
    }

    fn end_incarnation(&mut self, next: u32) {
        // An instance may say any number.
        let dropped = std::mem::take(&mut self.marks.dropped);
        self.marks.dropped_before = self.marks.dropped_before.saturating_add(dropped);
        self.marks.incarnation = next;
    }

    /// What leaves the modes that output has switched on, and the line that it stands on.
    fn end_of_terminal(&self) -> Vec<u8> {
        let mut modes = self.modes.clone();
        let unseen = usize::try_from(self.unseen()).unwrap_or(usize::MAX);
        modes.feed(&self.read(self.marks.seen, unseen).1);
        let mut end = modes.undo();
        if self.marks.line_start < self.marks.end || !end.is_empty() {
            end.extend_from_slice(b"\x1b[0m\r\n");
        }
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shmem_core::Incarnation;
    use shmem_core::crash::{self, Ended};
    use shmem_core::mem::Heap;
    use shmem_core::ring::{Consumer, OnRestart, Ring};

    #[test]
    fn positions_stay_true_when_old_bytes_leave() {
        let mut log = OutputLog::in_memory(8);
        log.append(b"0123456789");
        assert_eq!((log.start(), log.end(), log.seen()), (2, 10, 2));
        assert_eq!(log.lost(), 2);
        assert_eq!(log.read(0, 3), (2, b"234".to_vec()));
        assert_eq!(log.read(9, 100), (9, b"9".to_vec()));
        assert_eq!(log.read(99, 100), (10, Vec::new()));
    }

    #[test]
    fn what_was_seen_is_not_lost_when_it_leaves() {
        let mut log = OutputLog::in_memory(4);
        log.append(b"abcd");
        log.mark_seen(4);
        log.append(b"efgh");
        assert_eq!((log.lost(), log.unseen()), (0, 4));
        log.append(b"ij");
        assert_eq!((log.lost(), log.unseen()), (2, 4));
    }

    #[test]
    fn output_longer_than_the_log_keeps_its_end() {
        let mut log = OutputLog::in_memory(4);
        log.append(b"abc");
        log.append(b"0123456789");
        assert_eq!(log.read(0, 100), (9, b"6789".to_vec()));
        assert_eq!(log.lost(), 9);
    }

    #[test]
    fn patience_keeps_what_is_unseen_and_no_more() {
        let mut log = OutputLog::in_memory(4);
        log.append_patiently(b"abcdef");
        assert_eq!((log.lost(), log.read(0, 10)), (0, (0, b"abcdef".to_vec())));
        log.mark_seen(6);
        log.append_patiently(b"g");
        assert_eq!((log.lost(), log.read(0, 10)), (0, (3, b"defg".to_vec())));
    }

    #[test]
    fn modes_follow_what_was_seen_even_if_it_was_overwritten_unseen() {
        let mut log = OutputLog::in_memory(8);
        log.append(b"\x1b[?1049h");
        assert!(!log.modes().alternate());
        log.append(b"12345678");
        assert!(log.modes().alternate());
    }

    #[test]
    fn the_last_line_is_the_prompt_that_was_shown() {
        let mut log = OutputLog::in_memory(4096);
        log.append(b"ls\r\nbin\r\n[part2root@~]$ ");
        log.mark_seen(log.end());
        assert_eq!(log.line_start(), 9);
        log.append(b"not yet seen\n");
        assert_eq!(log.last_line(), b"[part2root@~]$ ");
        log.mark_seen(log.end());
        assert!(log.last_line().is_empty());
    }

    #[test]
    fn patience_ends_where_there_is_no_room() {
        let mut log = OutputLog::in_memory(8);
        log.append_patiently(b"0123456789abcdef");
        assert_eq!((log.lost(), log.start()), (0, 0));
        log.append_patiently(b"ghi");
        assert_eq!((log.lost(), log.start(), log.end()), (3, 3, 19));
        assert_eq!(log.read(0, 99).1, b"3456789abcdefghi");
    }

    #[test]
    fn a_restart_leaves_the_modes_and_the_line_and_is_noted_once() {
        let mut log = OutputLog::in_memory(4096);
        assert!(!log.new_incarnation(1));
        log.append(b"\x1b[?1049hvi");
        log.note_dropped(7);
        assert!(log.new_incarnation(3) && !log.new_incarnation(3));
        let (_, bytes) = log.read(0, 999);
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(
            text,
            "\x1b[?1049hvi\x1b[?1049l\x1b[0m\r\n\
             [kmon: guestd was restarted (incarnation 3): a new shell]\r\n"
        );
        log.note_dropped(2);
        log.mark_seen(log.end());
        assert_eq!((log.dropped(), log.modes().alternate()), (9, false));
        for incarnation in 4..7 {
            log.note_dropped(u64::MAX);
            log.new_incarnation(incarnation);
        }
        assert_eq!(log.dropped(), u64::MAX);
    }

    /// Handles what `ring` has as KMON does, each record once.
    fn take_all(log: &mut OutputLog, ring: &mut Consumer<'_>) {
        if log.handled() == Some(ring.position()) && ring.peek().is_ok() {
            ring.release().unwrap();
        }
        while let Ok(record) = ring.peek() {
            let mut output = Vec::new();
            record.read_into(&mut output);
            log.append(&output);
            log.commit(ring.position());
            ring.release().unwrap();
        }
    }

    #[test]
    fn whenever_kmon_dies_the_next_one_has_each_byte_once_and_in_its_place() {
        let lines: Vec<_> = (0..6).map(|n| format!("line {n};")).collect();
        let all: String = lines.concat();
        for at in 0.. {
            let heap = Heap::new(super::super::store::CIRCLE + 24);
            let store = Box::leak(Box::new(heap)).window();
            let ring = Heap::new(Ring::segment_len(256));
            let ring = Ring::attach(ring.window()).unwrap();
            let mut producer = ring.producer(Incarnation::first(2)).unwrap();
            for line in &lines {
                producer.push(line.as_bytes()).unwrap();
            }
            let mut first = OutputLog::over(Store::format(store, 16).unwrap());
            let mut consumer = ring
                .consumer(Incarnation::first(1), OnRestart::Keep)
                .unwrap();
            let ended = crash::run(Some(at), || take_all(&mut first, &mut consumer));

            // What was committed is whole, also where it wrapped.
            let mut second = OutputLog::over(Store::over(store).unwrap());
            let (from, kept) = second.read(0, 99);
            let end = second.end() as usize;
            assert_eq!(kept, all.as_bytes()[from as usize..end], "death at {at}");
            let incarnation = Incarnation::new(1, 2).unwrap();
            let mut consumer = ring.consumer(incarnation, OnRestart::Keep).unwrap();
            take_all(&mut second, &mut consumer);
            assert_eq!(second.end() as usize, all.len(), "death at {at}");
            assert_eq!(second.lost(), (all.len() - 16) as u64);
            assert_eq!(second.read(0, 99).1, all.as_bytes()[all.len() - 16..]);
            if let Ended::Alive { stores } = ended {
                assert!(stores > 30);
                break;
            }
        }
    }
}
