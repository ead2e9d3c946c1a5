//! The rows that the chains of the index contain.

use std::collections::HashMap;

use shmem_registry::Registry;
use shmem_registry::inspect::{ChainFault, Linked};

use crate::finding::Findings;

/// Attempts to read a chain that changes during each of them.
const ATTEMPTS: usize = 16;

/// The result of reading all chains.
pub(super) struct Chains {
    /// For each row, the link to it and the bucket of its chain.
    found: Vec<Option<(Linked, usize)>>,
}

impl Chains {
    /// Returns the link to the row, if a chain contains it.
    pub(super) fn link_to(&self, row: usize) -> Option<&Linked> {
        let found = self.found.get(row)?.as_ref();
        found.map(|(linked, _)| linked)
    }
}

/// Reads every chain. Visits each row only a few times, so that the time is bounded by the
/// size of the table, even if it is hostile. Reads nothing if the table is not `whole`.
pub(super) fn walk(registry: &Registry<'_>, whole: bool, findings: &mut Findings) -> Chains {
    let rows = registry.geometry().segments;
    let mut walker = Walker {
        registry,
        found: vec![None; rows],
        seen: vec![0; rows],
        walk: 0,
        ids: HashMap::new(),
        findings,
    };
    if whole {
        (0..registry.tables().buckets).for_each(|bucket| walker.walk(bucket));
    }
    Chains {
        found: walker.found,
    }
}

struct Walker<'w, 'm> {
    registry: &'w Registry<'m>,
    found: Vec<Option<(Linked, usize)>>,
    /// For each row, the last walk that visited it.
    seen: Vec<u64>,
    /// The number of the current walk.
    walk: u64,
    /// Identifiers in the table.
    ids: HashMap<u64, Linked>,
    findings: &'w mut Findings,
}

/// The reason why a walk ended before the end of its chain.
enum Fault {
    Broken(ChainFault),
    /// At a row that another chain, or this one, already contains.
    Joined {
        row: usize,
        bucket: usize,
    },
}

impl Walker<'_, '_> {
    fn walk(&mut self, bucket: usize) {
        let (mut rows, mut fault) = self.follow(bucket);
        for _ in 1..ATTEMPTS {
            // Only this fault can disappear at the next attempt.
            if !matches!(fault, Some(Fault::Broken(ChainFault::Changed))) {
                break;
            }
            (rows, fault) = self.follow(bucket);
        }
        for linked in rows {
            self.check(&linked, bucket);
            self.found[linked.row] = Some((linked, bucket));
        }
        let at = format!("bucket {bucket}");
        match fault {
            None => {}
            Some(Fault::Broken(fault)) => {
                self.findings.damaged("chain.broken", &at, describe(fault));
            }
            Some(Fault::Joined { row, bucket: other }) => {
                let what = match other == bucket {
                    true => format!("its chain is circular from row {row}"),
                    false => {
                        format!(
                            "its chain leads to row {row}, which is in the chain of bucket {other}"
                        )
                    }
                };
                self.findings.damaged("chain.joined", &at, what);
            }
        }
    }

    /// Returns the rows of a chain, up to its end or its first fault.
    fn follow(&mut self, bucket: usize) -> (Vec<Linked>, Option<Fault>) {
        self.walk += 1;
        let mut rows = Vec::new();
        for linked in self.registry.chain(bucket) {
            let linked = match linked {
                Ok(linked) => linked,
                Err(ChainFault::Cycle { row }) => {
                    return (rows, Some(Fault::Joined { row, bucket }));
                }
                Err(fault) => return (rows, Some(Fault::Broken(fault))),
            };
            let Linked {
                row, generation, ..
            } = linked;
            // A row in another use was in another chain before.
            let same = |other: &Linked| other.generation == generation;
            let elsewhere = self.found[row].filter(|(other, _)| same(other));
            let here = self.seen[row] == self.walk;
            let other = elsewhere.map(|(_, other)| other);
            if let Some(bucket) = other.or(here.then_some(bucket)) {
                return (rows, Some(Fault::Joined { row, bucket }));
            }
            self.seen[row] = self.walk;
            rows.push(linked);
        }
        (rows, None)
    }

    fn check(&mut self, linked: &Linked, bucket: usize) {
        let Linked { row, id, .. } = *linked;
        if linked.removed {
            return;
        }
        let at = format!("row {row}");
        let right = self.registry.bucket_of(id);
        if right != bucket {
            let what = format!("is in bucket {bucket}, where lookups of {id:#018x} do not search");
            self.findings.damaged("chain.bucket", &at, what);
        }
        let other = self.ids.insert(id, *linked);
        // The other row may have been removed meanwhile.
        if let Some(other) = other.filter(|other| other.row != row && self.is_in_table(other)) {
            let what = format!("has the same identifier as row {}: {id:#018x}", other.row);
            self.findings.damaged("chain.twice", &at, what);
        }
    }

    fn is_in_table(&self, linked: &Linked) -> bool {
        let words = self.registry.row_words(linked.row);
        words.is_some_and(|words| words.is_linked_by(linked) && !words.is_removed())
    }
}

fn describe(fault: ChainFault) -> String {
    match fault {
        ChainFault::Cycle { row } => format!("its chain is circular from row {row}"),
        ChainFault::Changed => "its chain leads to a row in another use".to_owned(),
        ChainFault::Corrupt(corrupt) => {
            format!(
                "its chain is broken: {} {:#010x}",
                corrupt.word, corrupt.value
            )
        }
    }
}
