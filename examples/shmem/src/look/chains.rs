//! Which rows the index leads to.

use std::collections::HashMap;

use shmem_registry::Registry;
use shmem_registry::inspect::{ChainFault, Linked};

use crate::finding::Findings;

/// Walks along a chain that changes under each of them.
const ATTEMPTS: usize = 16;

/// What the index leads to.
pub(super) struct Chains {
    /// By row: how a chain leads to it, and the chain's bucket.
    found: Vec<Option<(Linked, usize)>>,
}

impl Chains {
    /// How a chain leads to the row.
    pub(super) fn to(&self, row: usize) -> Option<&Linked> {
        let found = self.found.get(row)?.as_ref();
        found.map(|(linked, _)| linked)
    }
}

/// Walks every chain, each row at most once and a few times over: so no table,
/// however hostile, takes longer than it is long. Nothing if the table is not `whole`.
pub(super) fn walk(registry: &Registry<'_>, whole: bool, findings: &mut Findings) -> Chains {
    let rows = registry.geometry().segments;
    let mut walker = Walker {
        registry,
        found: vec![None; rows],
        met: vec![0; rows],
        turn: 0,
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
    /// By row: the last walk that met it.
    met: Vec<u64>,
    /// Counts the walks.
    turn: u64,
    /// Identifiers that are in the table.
    ids: HashMap<u64, Linked>,
    findings: &'w mut Findings,
}

/// Why a chain was left before its end.
enum Fault {
    Broken(ChainFault),
    /// At a row that this bucket's chain has already.
    Joined {
        row: usize,
        bucket: usize,
    },
}

impl Walker<'_, '_> {
    fn walk(&mut self, bucket: usize) {
        let (mut rows, mut fault) = self.follow(bucket);
        for _ in 1..ATTEMPTS {
            // Only what changes can do so at one look and not at the next.
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
                    true => format!("its chain goes round in a circle from row {row}"),
                    false => format!("its chain runs into row {row}, which bucket {other} has"),
                };
                self.findings.damaged("chain.joined", &at, what);
            }
        }
    }

    /// The rows of a chain, up to its end or to what is wrong with it.
    fn follow(&mut self, bucket: usize) -> (Vec<Linked>, Option<Fault>) {
        self.turn += 1;
        let mut rows = Vec::new();
        for linked in self.registry.chain(bucket) {
            let linked = match linked {
                Ok(linked) => linked,
                Err(ChainFault::Circle { row }) => {
                    return (rows, Some(Fault::Joined { row, bucket }));
                }
                Err(fault) => return (rows, Some(Fault::Broken(fault))),
            };
            let Linked {
                row, generation, ..
            } = linked;
            // In another use, it was in another chain before.
            let same = |other: &Linked| other.generation == generation;
            let elsewhere = self.found[row].filter(|(other, _)| same(other));
            let here = self.met[row] == self.turn;
            let other = elsewhere.map(|(_, other)| other);
            if let Some(bucket) = other.or(here.then_some(bucket)) {
                return (rows, Some(Fault::Joined { row, bucket }));
            }
            self.met[row] = self.turn;
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
            let what = format!("is in bucket {bucket}, where no lookup of {id:#018x} looks");
            self.findings.damaged("chain.bucket", &at, what);
        }
        let other = self.ids.insert(id, *linked);
        // Removed meanwhile, it was there before.
        if let Some(other) = other.filter(|other| other.row != row && self.is_there(other)) {
            let what = format!("has the identifier of row {}, too: {id:#018x}", other.row);
            self.findings.damaged("chain.twice", &at, what);
        }
    }

    fn is_there(&self, linked: &Linked) -> bool {
        let words = self.registry.row_words(linked.row);
        words.is_some_and(|words| words.is_linked_by(linked) && !words.is_removed())
    }
}

fn describe(fault: ChainFault) -> String {
    match fault {
        ChainFault::Circle { row } => format!("its chain goes round in a circle from row {row}"),
        ChainFault::Changed => {
            "its chain leads to a row that is used for something else by now".to_owned()
        }
        ChainFault::Corrupt(corrupt) => {
            format!(
                "its chain leads nowhere: {} {:#010x}",
                corrupt.word, corrupt.value
            )
        }
    }
}
