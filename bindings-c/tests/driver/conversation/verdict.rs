//! Holds what one party sent against what the other got.
//!
//! All records of a ring in one row, incarnation after incarnation: a consumer must have got them
//! in this order, each once, but where it was killed. An incarnation of it that is killed
//!
//! - between a pop and its log has a record in hand that the log does not have;
//! - between a log and a release sees again what it logged last: the one that it
//!   peeked, or all of what it drained.
//!
//! An incarnation of a producer that is killed between a push and its log has pushed a little more
//! than it knows.

use std::collections::{BTreeMap, BTreeSet};

use super::{BATCH, DRAINED, INTENT, PEEKED, POPPED, SEAM, SENT, START, TOLD};

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Different records that came, or were in hand.
    pub(super) records: usize,
    /// How often the consumer was told that the producer was restarted.
    pub(super) seams: usize,
    /// How often the producer was told that the consumer was restarted.
    pub(super) told: usize,
    /// Records in the hand of an incarnation that was killed.
    pub(super) in_hand: u64,
    /// Records that a new incarnation saw again.
    pub(super) again: u64,
}

impl Verdict {
    pub(super) fn of(sent: &[[u32; 4]], got: &[[u32; 4]]) -> Result<Self, String> {
        let row = Row::of(sent, got)?;
        let mut walk = Walk::new(&row);
        for entry in got {
            walk.step(entry)
                .map_err(|why| format!("{why} at {entry:x?}: {walk:?}"))?;
        }
        // The last incarnation ended when nothing was left.
        if !walk.heads.contains(&row.len) {
            return Err(format!("{:?} of {} came", walk.heads, row.len));
        }
        let mut verdict = walk.verdict;
        let starts = got.iter().filter(|entry| entry[1] == START).count();
        verdict.told = sent.iter().filter(|entry| entry[1] == TOLD).count();
        verdict.records = row.len as usize;
        // Each incarnation of the producer may hear of each incarnation of the consumer but its
        // first.
        if verdict.told >= starts.max(1) {
            return Err(format!("told {} times of {starts} lives", verdict.told));
        }
        Ok(verdict)
    }
}

/// All records in one row: where those of each incarnation of the producer begin.
#[derive(Debug)]
struct Row {
    begins: BTreeMap<u32, u64>,
    len: u64,
}

impl Row {
    fn of(sent: &[[u32; 4]], got: &[[u32; 4]]) -> Result<Self, String> {
        let mut pushed: BTreeMap<u32, u32> = BTreeMap::new();
        for &[incarnation, what, first, count] in sent {
            let so_far = pushed.entry(incarnation).or_default();
            if what == SENT {
                if first != *so_far {
                    return Err(format!("{incarnation:#x} pushed {first} after {so_far}"));
                }
                *so_far += count;
            }
        }
        let mut all = pushed.clone();
        for &[_, what, incarnation, number] in got {
            if (POPPED..=DRAINED).contains(&what) {
                let known = pushed.get(&incarnation).copied().unwrap_or(0);
                if number >= known + BATCH {
                    return Err(format!("{incarnation:#x} never pushed {number}"));
                }
                let all = all.entry(incarnation).or_default();
                *all = (*all).max(number + 1);
            }
        }
        let mut len = 0;
        let begin = |(incarnation, count): (u32, u32)| {
            let begin = len;
            len += u64::from(count);
            (incarnation, begin)
        };
        // Lives of one partition are ordered as their words are.
        let begins = all.into_iter().map(begin).collect();
        Ok(Self { begins, len })
    }
}

/// A consumer's way along the row.
#[derive(Debug)]
struct Walk<'r> {
    row: &'r Row,
    /// Where the ring's head may be: one place, but after a death.
    heads: BTreeSet<u64>,
    /// The record that follows the last one that was logged.
    next: u64,
    /// What it is about to do, and the first record that it logged since.
    way: u32,
    logged: Option<u64>,
    /// The incarnation of the producer of the last record in this incarnation, if there was one.
    last: Option<u32>,
    /// Seams since then.
    seams: u32,
    verdict: Verdict,
}

impl<'r> Walk<'r> {
    fn new(row: &'r Row) -> Self {
        Self {
            row,
            heads: BTreeSet::from([0]),
            next: 0,
            way: 0,
            logged: None,
            last: None,
            seams: 0,
            verdict: Verdict::default(),
        }
    }

    fn step(&mut self, &[_, what, from, number]: &[u32; 4]) -> Result<(), String> {
        match what {
            START => self.begin_after_a_death(),
            INTENT => (self.way, self.logged) = (from, None),
            SEAM => {
                self.seams += 1;
                self.verdict.seams += 1;
            }
            POPPED | PEEKED | DRAINED => return self.record(from, number),
            _ => return Err("not an entry".into()),
        }
        Ok(())
    }

    fn begin_after_a_death(&mut self) {
        match (self.way, self.logged) {
            (POPPED, None) => {
                let in_hand: Vec<_> = self.heads.iter().map(|head| head + 1).collect();
                self.heads.extend(in_hand);
            }
            (PEEKED | DRAINED, Some(first)) => {
                self.heads.insert(first);
            }
            _ => {}
        }
        (self.way, self.logged, self.last, self.seams) = (0, None, None, 0);
    }

    fn record(&mut self, from: u32, number: u32) -> Result<(), String> {
        let at = self.row.begins[&from] + u64::from(number);
        if !self.heads.contains(&at) {
            return Err(format!("record {at} is lost or repeated"));
        }
        match self.last {
            Some(last) if (last != from) != (self.seams > 0) => {
                return Err("a seam too many, or one that is missing".into());
            }
            Some(_) => {}
            None => {
                self.verdict.in_hand += at.saturating_sub(self.next);
                self.verdict.again += self.next.saturating_sub(at);
            }
        }
        self.next = at + 1;
        self.heads = BTreeSet::from([self.next]);
        self.logged = self.logged.or(Some(at));
        (self.last, self.seams) = (Some(from), 0);
        Ok(())
    }
}

/// An incarnation of each, and three records: as it should be, and as it should not.
pub(super) fn notices_what_is_wrong() -> crate::Outcome {
    const SENT_ALL: [[u32; 4]; 1] = [[0x101, SENT, 0, 3]];
    let popped = |numbers: &[u32]| {
        let mut got = vec![[0x102, START, 0, 0]];
        for number in numbers {
            got.push([0x102, INTENT, POPPED, 0]);
            got.push([0x102, POPPED, 0x101, *number]);
        }
        got
    };
    let verdict = |got: &[[u32; 4]]| Verdict::of(&SENT_ALL, got);
    let right = verdict(&popped(&[0, 1, 2]));
    crate::ensure(right.is_ok(), || format!("{right:?}"))?;
    let mut died_in_pop = popped(&[0]);
    died_in_pop.push([0x102, INTENT, POPPED, 0]);
    died_in_pop.extend(popped(&[2]));
    let in_hand = verdict(&died_in_pop).map(|verdict| verdict.in_hand);
    crate::ensure(in_hand == Ok(1), || format!("{in_hand:?}"))?;
    let mut seam = popped(&[0, 1, 2]);
    seam.insert(3, [0x102, SEAM, 0, 0]);
    let wrong = [
        popped(&[0, 2]),
        popped(&[0, 1]),
        popped(&[0, 1, 1, 2]),
        [popped(&[0, 1]), popped(&[1, 2])].concat(),
        [popped(&[0]), popped(&[2])].concat(),
        popped(&[0, 1, 2, 9]),
        seam,
    ];
    for got in &wrong {
        crate::ensure(verdict(got).is_err(), || format!("{got:x?}"))?;
    }
    Ok(())
}
