//! A bounded log of an instance's output. It outlives KMON.
//!
//! - **L1** Positions count every byte since the instance was first started. They never go back,
//!   not even at a restart.
//! - **L2** `start <= seen <= end`. `end - start <= capacity`, except for unseen bytes that were
//!   appended patiently.
//! - **L3** A byte that is overwritten before an operator has seen it is counted in `lost`.
//! - **L4** `modes` are those of a terminal that was shown everything up to `seen`.
//! - **L5** [`OutputLog::commit`] stores all effects of a record of the result ring on the log at
//!   once, together with the record's position, before the record is released. If KMON dies
//!   meanwhile, the record is either handled or not.

use std::path::Path;

use super::modes::Modes;
use super::store::{Marks, Store};

/// The newest bytes of an instance's output, and how much of it an operator has seen.
pub(crate) struct OutputLog {
    store: Store,
    marks: Marks,
    modes: Modes,
    /// Where the newest incarnation of guestd begins, if it began while this KMON ran.
    incarnation_start: u64,
}

impl OutputLog {
    /// A longer unfinished line is not shown again.
    const MAX_LAST_LINE: u64 = 512;
    /// Length of the longest sequence for a terminal mode, in bytes.
    const MAX_SEQUENCE: u64 = 128;

    /// Opens the log in `file`, or creates one for `capacity` bytes.
    ///
    /// # Errors
    /// The file cannot be opened, created or enlarged.
    pub(crate) fn open(file: &Path, capacity: usize) -> anyhow::Result<Self> {
        Ok(Self::new(Store::open(file, capacity)?))
    }

    /// Creates a log in memory, with room for `capacity` bytes more than its capacity.
    #[cfg(test)]
    pub(crate) fn in_memory(capacity: usize) -> Self {
        let heap = shmem_core::mem::Heap::new(super::store::HEADER + 2 * capacity);
        let memory = Box::leak(Box::new(heap)).window();
        Self::new(Store::format(memory, capacity).expect("room"))
    }

    fn new((store, marks): (Store, Marks)) -> Self {
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

    /// Returns the number that identifies this output, to which the positions belong.
    pub(crate) fn id(&self) -> u64 {
        self.marks.id
    }

    /// Returns the position of the oldest byte that is kept.
    pub(crate) fn start(&self) -> u64 {
        self.marks.start
    }

    /// Returns the position after the newest byte.
    pub(crate) fn end(&self) -> u64 {
        self.marks.end
    }

    /// Returns the position up to which an operator has seen the output.
    pub(crate) fn seen(&self) -> u64 {
        self.marks.seen
    }

    /// Returns the position at which the newest line starts.
    #[cfg(test)]
    pub(crate) fn line_start(&self) -> u64 {
        self.marks.line_start
    }

    /// Returns how many bytes no operator has seen yet.
    pub(crate) fn unseen(&self) -> u64 {
        self.marks.end - self.marks.seen
    }

    /// Returns how many bytes were overwritten before an operator saw them.
    #[cfg(test)]
    pub(crate) fn lost(&self) -> u64 {
        self.marks.lost
    }

    /// Returns how many bytes no operator can see any more: those that are lost here, and those
    /// that all incarnations of guestd have dropped.
    pub(crate) fn dropped(&self) -> u64 {
        self.marks.lost.saturating_add(self.dropped_by_guestd())
    }

    /// Returns how many bytes all incarnations of guestd have dropped.
    pub(crate) fn dropped_by_guestd(&self) -> u64 {
        self.marks.dropped_before.saturating_add(self.marks.dropped)
    }

    /// Returns how many commands were discarded at restarts.
    pub(crate) fn discarded(&self) -> u64 {
        self.marks.discarded
    }

    /// Returns the incarnation of guestd that printed last; 0 before the first.
    pub(crate) fn incarnation(&self) -> u32 {
        self.marks.incarnation
    }

    /// Returns true if an operator has seen that this incarnation of guestd began.
    pub(crate) fn incarnation_seen(&self) -> bool {
        self.marks.seen >= self.incarnation_start
    }

    /// Returns the position in the result ring of the record that was handled last.
    pub(crate) fn handled(&self) -> Option<u32> {
        self.marks.handled
    }

    /// Returns the modes of a terminal that was shown everything up to `seen`.
    pub(crate) fn modes(&self) -> &Modes {
        &self.modes
    }

    /// Stores the effects of the record at `position` of the result ring (L5).
    pub(crate) fn commit(&mut self, position: u32) {
        self.marks.handled = Some(position);
        self.save();
    }

    /// Appends `output` and drops the oldest bytes where necessary. Called once between two
    /// commits.
    pub(crate) fn append(&mut self, output: &[u8]) {
        self.grow(output);
        self.shrink(u64::MAX);
    }

    /// Appends `output`, and drops only bytes that were seen as long as there is room. For a caller
    /// that stops appending while much is unseen; L2 holds without exception once the output is
    /// seen.
    pub(crate) fn append_patiently(&mut self, output: &[u8]) {
        self.grow(output);
        self.shrink(self.marks.seen - self.marks.start);
    }

    /// Adds `output` after the newest byte. It counts only after the commit.
    fn grow(&mut self, output: &[u8]) {
        let len = output.len() as u64;
        let free = self.store.size() - (self.marks.end - self.marks.start);
        if free < len {
            // The bytes that it overwrites leave the log first (`store`, F2).
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

    /// Drops the bytes beyond the capacity, at most `max`.
    fn shrink(&mut self, max: u64) {
        let kept = self.marks.end - self.marks.start;
        self.drop_oldest(kept.saturating_sub(self.marks.capacity).min(max));
    }

    fn drop_oldest(&mut self, count: u64) {
        let start = self.marks.start + count;
        if start > self.marks.seen {
            self.marks.lost += start - self.marks.seen;
            self.advance_seen(start);
        }
        self.marks.start = start;
    }

    /// Returns up to `max` bytes from `position` on (or from the oldest byte, if that is newer),
    /// and the position of the first.
    pub(crate) fn read(&self, position: u64, max: usize) -> (u64, Vec<u8>) {
        let from = position.clamp(self.marks.start, self.marks.end);
        let len = usize::try_from(self.marks.end - from).unwrap_or(usize::MAX);
        let mut bytes = vec![0; len.min(max)];
        self.store.get(from, &mut bytes);
        (from, bytes)
    }

    /// Returns the last `max` bytes that were seen, as far as they are kept, and the position of
    /// the first.
    fn read_seen(&self, max: u64) -> (u64, Vec<u8>) {
        let from = self.marks.seen.saturating_sub(max).max(self.marks.start);
        let len = usize::try_from(self.marks.seen - from).unwrap_or(usize::MAX);
        self.read(from, len)
    }

    /// Notes that an operator has seen everything up to `position`.
    pub(crate) fn mark_seen(&mut self, position: u64) {
        self.advance_seen(position);
        self.save();
    }

    fn advance_seen(&mut self, position: u64) {
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

    /// Returns the unfinished line before `seen`: usually the prompt.
    pub(crate) fn last_line(&self) -> Vec<u8> {
        let (from, tail) = self.read_seen(Self::MAX_LAST_LINE);
        match tail.iter().rposition(|&byte| byte == b'\n') {
            Some(newline) => tail[newline + 1..].to_vec(),
            None if from == 0 => tail,
            None => Vec::new(),
        }
    }

    /// Notes how many bytes the current incarnation of guestd has dropped in all.
    pub(crate) fn note_dropped(&mut self, bytes: u64) {
        self.marks.dropped = self.marks.dropped.max(bytes);
    }

    /// Adds to the number of discarded commands.
    pub(crate) fn note_discarded(&mut self, commands: u64) {
        self.marks.discarded = self.marks.discarded.saturating_add(commands);
    }

    /// Notes that the instance gets a new region, and with it a new terminal.
    pub(crate) fn new_region(&mut self) {
        let all_seen = self.unseen() == 0;
        self.append(&self.end_of_terminal());
        if all_seen {
            // Otherwise it would be the only unseen output.
            self.advance_seen(self.marks.end);
        }
        self.end_incarnation(0);
        self.marks.handled = None;
        self.save();
    }

    /// Notes that the following output is from guestd's incarnation number `incarnation`, which has
    /// its own shell. Returns true if this is a restart that was not noted yet.
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
        // The number comes from the instance and can have any value.
        let dropped = std::mem::take(&mut self.marks.dropped);
        self.marks.dropped_before = self.marks.dropped_before.saturating_add(dropped);
        self.marks.incarnation = next;
    }

    /// Returns the sequence that resets the modes of the output and ends its last line.
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
    fn positions_stay_valid_when_old_bytes_are_dropped() {
        let mut log = OutputLog::in_memory(8);
        log.append(b"0123456789");
        assert_eq!((log.start(), log.end(), log.seen()), (2, 10, 2));
        assert_eq!(log.lost(), 2);
        assert_eq!(log.read(0, 3), (2, b"234".to_vec()));
        assert_eq!(log.read(9, 100), (9, b"9".to_vec()));
        assert_eq!(log.read(99, 100), (10, Vec::new()));
    }

    #[test]
    fn a_seen_byte_does_not_count_as_lost() {
        let mut log = OutputLog::in_memory(4);
        log.append(b"abcd");
        log.mark_seen(4);
        log.append(b"efgh");
        assert_eq!((log.lost(), log.unseen()), (0, 4));
        log.append(b"ij");
        assert_eq!((log.lost(), log.unseen()), (2, 4));
    }

    #[test]
    fn of_output_longer_than_the_log_the_end_is_kept() {
        let mut log = OutputLog::in_memory(4);
        log.append(b"abc");
        log.append(b"0123456789");
        assert_eq!(log.read(0, 100), (9, b"6789".to_vec()));
        assert_eq!(log.lost(), 9);
    }

    #[test]
    fn a_patient_append_drops_only_seen_bytes() {
        let mut log = OutputLog::in_memory(4);
        log.append_patiently(b"abcdef");
        assert_eq!((log.lost(), log.read(0, 10)), (0, (0, b"abcdef".to_vec())));
        log.mark_seen(6);
        log.append_patiently(b"g");
        assert_eq!((log.lost(), log.read(0, 10)), (0, (3, b"defg".to_vec())));
    }

    #[test]
    fn modes_follow_seen_output_and_output_that_was_overwritten_unseen() {
        let mut log = OutputLog::in_memory(8);
        log.append(b"\x1b[?1049h");
        assert!(!log.modes().alternate());
        log.append(b"12345678");
        assert!(log.modes().alternate());
    }

    #[test]
    fn the_last_line_is_the_last_seen_prompt() {
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
    fn a_patient_append_without_room_drops_unseen_bytes() {
        let mut log = OutputLog::in_memory(8);
        log.append_patiently(b"0123456789abcdef");
        assert_eq!((log.lost(), log.start()), (0, 0));
        log.append_patiently(b"ghi");
        assert_eq!((log.lost(), log.start(), log.end()), (3, 3, 19));
        assert_eq!(log.read(0, 99).1, b"3456789abcdefghi");
    }

    #[test]
    fn a_restart_resets_the_modes_ends_the_line_and_is_noted_once() {
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

    /// Handles the records of `ring` as KMON does, each once.
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
    fn whenever_kmon_dies_the_next_kmon_has_each_byte_once_and_in_order() {
        let lines: Vec<_> = (0..6).map(|n| format!("line {n};")).collect();
        let all: String = lines.concat();
        for at in 0.. {
            let heap = Heap::new(super::super::store::HEADER + 24);
            let store = Box::leak(Box::new(heap)).window();
            let ring = Heap::new(Ring::segment_len(256));
            let ring = Ring::attach(ring.window()).unwrap();
            let mut producer = ring.claim_producer(Incarnation::first(2)).unwrap();
            for line in &lines {
                producer.push(line.as_bytes()).unwrap();
            }
            let mut first = OutputLog::new(Store::format(store, 16).unwrap());
            let mut consumer = ring
                .claim_consumer(Incarnation::first(1), OnRestart::Keep)
                .unwrap();
            let ended = crash::run(Some(at), || take_all(&mut first, &mut consumer));

            // Committed output is whole, also where it wraps.
            let mut second = OutputLog::new(Store::attach(store).unwrap());
            let (from, kept) = second.read(0, 99);
            let end = second.end() as usize;
            assert_eq!(kept, all.as_bytes()[from as usize..end], "death at {at}");
            let incarnation = Incarnation::new(1, 2).unwrap();
            let mut consumer = ring.claim_consumer(incarnation, OnRestart::Keep).unwrap();
            take_all(&mut second, &mut consumer);
            assert_eq!(second.end() as usize, all.len(), "death at {at}");
            assert_eq!(second.lost(), (all.len() - 16) as u64);
            assert_eq!(second.read(0, 99).1, all.as_bytes()[all.len() - 16..]);
            if let Ended::Finished { stores } = ended {
                assert!(stores > 30);
                break;
            }
        }
    }
}
