//! Compares the records that one party sent with those that the other received.
//!
//! All records of a ring form one sequence, incarnation after incarnation. The consumer must receive
//! them in this order and each once, except where it was killed:
//!
//! - between a pop and its log entry: the record was received, but the log does not contain it;
//! - between a log entry and a release: the next incarnation receives the logged records again, one
//!   after a peek, or all after a drain.
//!
//! A producer that is killed between a push and its log entry has pushed more records than its log
//! contains.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    BATCH, CONSUMER_RESTARTED, DRAINED, INTENT, PEEKED, POPPED, PRODUCER_RESTARTED, SENT, START,
};

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Different records that were received, with or without a log entry.
    pub(super) records: usize,
    /// How often a restart of the producer was reported to the consumer.
    pub(super) producer_restarts: usize,
    /// How often a restart of the consumer was reported to the producer.
    pub(super) consumer_restarts: usize,
    /// Records that a killed incarnation received but did not log.
    pub(super) unlogged: u64,
    /// Records that a new incarnation received again.
    pub(super) repeated: u64,
}

impl Verdict {
    pub(super) fn from_logs(sent: &[[u32; 4]], got: &[[u32; 4]]) -> Result<Self, String> {
        let sequence = Sequence::from_logs(sent, got)?;
        let mut walk = Walk::new(&sequence);
        for entry in got {
            walk.step(entry)
                .map_err(|why| format!("{why} at {entry:x?}: {walk:?}"))?;
        }
        // The last incarnation ended when no record was left.
        if !walk.heads.contains(&sequence.len) {
            return Err(format!("{:?} of {} arrived", walk.heads, sequence.len));
        }
        let mut verdict = walk.verdict;
        let starts = got.iter().filter(|entry| entry[1] == START).count();
        verdict.consumer_restarts = sent
            .iter()
            .filter(|entry| entry[1] == CONSUMER_RESTARTED)
            .count();
        verdict.records = sequence.len as usize;
        // At most each incarnation of the consumer after the first one is reported, once.
        if verdict.consumer_restarts >= starts.max(1) {
            return Err(format!(
                "{} restarts of {starts} incarnations were reported",
                verdict.consumer_restarts
            ));
        }
        Ok(verdict)
    }
}

/// All records in one sequence, and where those of each incarnation of the producer begin.
#[derive(Debug)]
struct Sequence {
    begins: BTreeMap<u32, u64>,
    len: u64,
}

impl Sequence {
    fn from_logs(sent: &[[u32; 4]], got: &[[u32; 4]]) -> Result<Self, String> {
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
        // The words of incarnations of one partition are in the order of the incarnations.
        let begins = all.into_iter().map(begin).collect();
        Ok(Self { begins, len })
    }
}

/// A consumer's progress through the sequence.
#[derive(Debug)]
struct Walk<'r> {
    sequence: &'r Sequence,
    /// Where the ring's head can be: one place, or two after a death.
    heads: BTreeSet<u64>,
    /// The record that follows the last one that was logged.
    next: u64,
    /// The call that it is about to make, and the first record that it logged since.
    method: u32,
    logged: Option<u64>,
    /// The producer's incarnation of the last record, if this incarnation received one.
    last: Option<u32>,
    /// Restarts of the producer that were reported since then.
    restarts: u32,
    verdict: Verdict,
}

impl<'r> Walk<'r> {
    fn new(sequence: &'r Sequence) -> Self {
        Self {
            sequence,
            heads: BTreeSet::from([0]),
            next: 0,
            method: 0,
            logged: None,
            last: None,
            restarts: 0,
            verdict: Verdict::default(),
        }
    }

    fn step(&mut self, &[_, what, from, number]: &[u32; 4]) -> Result<(), String> {
        match what {
            START => self.begin_after_a_death(),
            INTENT => (self.method, self.logged) = (from, None),
            PRODUCER_RESTARTED => {
                self.restarts += 1;
                self.verdict.producer_restarts += 1;
            }
            POPPED | PEEKED | DRAINED => return self.record(from, number),
            _ => return Err("unknown entry".into()),
        }
        Ok(())
    }

    fn begin_after_a_death(&mut self) {
        match (self.method, self.logged) {
            (POPPED, None) => {
                let unlogged: Vec<_> = self.heads.iter().map(|head| head + 1).collect();
                self.heads.extend(unlogged);
            }
            (PEEKED | DRAINED, Some(first)) => {
                self.heads.insert(first);
            }
            _ => {}
        }
        (self.method, self.logged, self.last, self.restarts) = (0, None, None, 0);
    }

    fn record(&mut self, from: u32, number: u32) -> Result<(), String> {
        let at = self.sequence.begins[&from] + u64::from(number);
        if !self.heads.contains(&at) {
            return Err(format!("record {at} is lost or repeated"));
        }
        match self.last {
            Some(last) if (last != from) != (self.restarts > 0) => {
                return Err("a restart was reported wrongly, or not reported".into());
            }
            Some(_) => {}
            None => {
                self.verdict.unlogged += at.saturating_sub(self.next);
                self.verdict.repeated += self.next.saturating_sub(at);
            }
        }
        self.next = at + 1;
        self.heads = BTreeSet::from([self.next]);
        self.logged = self.logged.or(Some(at));
        (self.last, self.restarts) = (Some(from), 0);
        Ok(())
    }
}

/// Checks correct and wrong logs of one incarnation of each party and three records.
pub(super) fn detects_lost_and_repeated_records() -> crate::Outcome {
    const SENT_ALL: [[u32; 4]; 1] = [[0x101, SENT, 0, 3]];
    let popped = |numbers: &[u32]| {
        let mut got = vec![[0x102, START, 0, 0]];
        for number in numbers {
            got.push([0x102, INTENT, POPPED, 0]);
            got.push([0x102, POPPED, 0x101, *number]);
        }
        got
    };
    let verdict = |got: &[[u32; 4]]| Verdict::from_logs(&SENT_ALL, got);
    let right = verdict(&popped(&[0, 1, 2]));
    crate::ensure(right.is_ok(), || format!("{right:?}"))?;
    let mut died_in_pop = popped(&[0]);
    died_in_pop.push([0x102, INTENT, POPPED, 0]);
    died_in_pop.extend(popped(&[2]));
    let unlogged = verdict(&died_in_pop).map(|verdict| verdict.unlogged);
    crate::ensure(unlogged == Ok(1), || format!("{unlogged:?}"))?;
    let mut restart = popped(&[0, 1, 2]);
    restart.insert(3, [0x102, PRODUCER_RESTARTED, 0, 0]);
    let wrong = [
        popped(&[0, 2]),
        popped(&[0, 1]),
        popped(&[0, 1, 1, 2]),
        [popped(&[0, 1]), popped(&[1, 2])].concat(),
        [popped(&[0]), popped(&[2])].concat(),
        popped(&[0, 1, 2, 9]),
        restart,
    ];
    for got in &wrong {
        crate::ensure(verdict(got).is_err(), || format!("{got:x?}"))?;
    }
    Ok(())
}
