//! Locks: their holders, and whether those are gone.

use shmem_core::Window;
use shmem_sync::Shape;
use shmem_sync::inspect::{
    BakeryWords, BarrierWords, Health, Holder, MutexWords, Party, Permit, RwLockWords,
    SemaphoreWords, Ticket,
};

use super::contents::Inside;
use crate::report::{self, IncarnationView, Protects};

fn protects(shape: Shape) -> Protects {
    let (size, align) = (shape.size(), shape.align());
    Protects { size, align }
}

impl Inside<'_, '_> {
    pub(super) fn mutex(&mut self, window: Window<'_>) -> Option<report::Mutex> {
        let words = self.attached(MutexWords::attach(window))?;
        let owner = words.owner();
        Some(report::Mutex {
            owner: self.owner(owner.holder, "held by"),
            contended: owner.contended,
            health: self.health(words.health()),
            protects: words.protects().map(protects),
        })
    }

    pub(super) fn bakery(&mut self, window: Window<'_>) -> Option<report::Bakery> {
        let words = self.attached(BakeryWords::attach(window))?;
        let owner = self.owner(words.holder(), "held by");
        let shop = words.colour();
        if shop > 1 {
            self.damaged("lock.colour", format_args!("its colour is {shop:#x}"));
        }
        let mut tickets = Vec::new();
        for entry in words.entries() {
            let incarnation = match entry.incarnation {
                Holder::Incarnation(incarnation) => Some(self.scene.incarnations.view(incarnation)),
                Holder::Nobody => None,
                Holder::Corrupt(word) => {
                    let partition = entry.partition;
                    let what = format!("partition {partition}'s entry contains {word:#010x}");
                    self.damaged("lock.incarnation", what);
                    None
                }
            };
            tickets.extend(entry.ticket.map(|ticket| report::Ticket {
                partition: entry.partition,
                incarnation,
                number: (!ticket.is_being_drawn).then_some(ticket.number),
                colour: colour(ticket.colour),
            }));
            if let (Some(ticket), Some(view)) = (entry.ticket, incarnation) {
                self.check_ticket(&ticket, view, owner);
            }
        }
        Some(report::Bakery {
            owner,
            health: self.health(words.health()),
            colour: colour(shop),
            tickets,
            protects: words.protects().map(protects),
        })
    }

    /// Reports a dead partition's ticket, unless its owner was already reported.
    fn check_ticket(
        &mut self,
        ticket: &Ticket,
        view: IncarnationView,
        owner: Option<IncarnationView>,
    ) {
        if view.gone == Some(true) && owner != Some(view) {
            let (partition, incarnation) = (view.partition, view.incarnation);
            let state = if ticket.is_being_drawn {
                "was drawing a ticket"
            } else {
                "waited"
            };
            let what =
                format!("partition {partition} {state} when incarnation {incarnation} of it ended");
            self.left("lock.ticket", what);
        }
    }

    pub(super) fn semaphore(&mut self, window: Window<'_>) -> Option<report::Semaphore> {
        let words = self.attached(SemaphoreWords::attach(window))?;
        let mut holders = Vec::new();
        let (mut capacity, mut permits, mut free, mut contended) = (0, 0, 0, false);
        for (permit, sleepers) in words.permits() {
            capacity += 1;
            contended |= sleepers;
            permits += usize::from(permit != Permit::None);
            match permit {
                Permit::None => {}
                Permit::Free => free += 1,
                Permit::Held(incarnation) => holders.push(incarnation),
                Permit::Corrupt(word) => {
                    let what = format_args!("permit {} is {word:#010x}", capacity - 1);
                    self.damaged("lock.permit", what);
                }
            }
        }
        holders.sort_unstable_by_key(|incarnation| incarnation.word());
        let held = holders
            .chunk_by(|one, other| one == other)
            .map(|incarnations| {
                let permits = incarnations.len();
                let plural = if permits == 1 { "" } else { "s" };
                let what = format_args!("{permits} permit{plural} held by");
                let incarnation = self.holder(incarnations[0], "lock.owner", what);
                report::Held {
                    incarnation,
                    permits,
                }
            });
        let held = held.collect();
        Some(report::Semaphore {
            capacity,
            permits,
            free,
            contended,
            held,
        })
    }

    pub(super) fn rwlock(&mut self, window: Window<'_>) -> Option<report::RwLock> {
        let words = self.attached(RwLockWords::attach(window))?;
        let writer = words.writer();
        let readers: Vec<_> = words.readers().collect();
        Some(report::RwLock {
            writer: self.owner(writer.holder, "held for writing by"),
            writing: words.is_writing(),
            contended: writer.contended,
            health: self.health(words.health()),
            readers: readers
                .into_iter()
                .filter_map(|holder| self.owner(holder, "read by"))
                .collect(),
            protects: words.protects().map(protects),
        })
    }

    pub(super) fn barrier(&mut self, window: Window<'_>) -> Option<report::Barrier> {
        let words = self.attached(BarrierWords::attach(window))?;
        let found: Vec<Party> = words.parties().collect();
        let newest = found.iter().map(|party| party.arrived).reduce(later);
        let mut parties = Vec::new();
        for party in found {
            let what = "the other parties wait for";
            let incarnation = match party.incarnation.holder {
                Holder::Incarnation(incarnation) if Some(party.arrived) != newest => {
                    Some(self.holder(incarnation, "lock.party", what))
                }
                Holder::Incarnation(incarnation) => Some(self.scene.incarnations.view(incarnation)),
                Holder::Nobody => {
                    let what = format!(
                        "partition {} has arrived without an incarnation",
                        party.partition
                    );
                    self.damaged("lock.incarnation", what);
                    None
                }
                Holder::Corrupt(word) => {
                    let what = format!("partition {}'s entry holds {word:#010x}", party.partition);
                    self.damaged("lock.incarnation", what);
                    None
                }
            };
            parties.push(report::Party {
                partition: party.partition,
                incarnation,
                arrived: party.arrived,
                sleeps: party.incarnation.contended,
            });
        }
        Some(report::Barrier {
            phase: words.phase(),
            parties,
        })
    }

    fn owner(&mut self, holder: Holder, what: &str) -> Option<IncarnationView> {
        match holder {
            Holder::Nobody => None,
            Holder::Incarnation(incarnation) => Some(self.holder(incarnation, "lock.owner", what)),
            Holder::Corrupt(word) => {
                self.damaged(
                    "lock.owner",
                    format_args!("{what} {word:#010x}, not an incarnation"),
                );
                None
            }
        }
    }

    fn health(&mut self, health: Health) -> &'static str {
        match health {
            Health::Whole => "whole",
            Health::Suspect => {
                self.left(
                    "lock.suspect",
                    "an owner died while it held the lock, and the data is not repaired yet",
                );
                "suspect"
            }
            Health::Poisoned => {
                self.left(
                    "lock.poisoned",
                    "an owner died while it held the lock, and the data was not repaired: the lock \
                     stays poisoned",
                );
                "poisoned"
            }
            Health::Corrupt(word) => {
                self.damaged("lock.health", format_args!("its health is {word:#x}"));
                "corrupt"
            }
        }
    }
}

fn colour(colour: u32) -> &'static str {
    match colour & 1 {
        0 => "white",
        _ => "black",
    }
}

/// Returns the later one of two phases, by the shorter distance.
fn later(one: u32, other: u32) -> u32 {
    match other.wrapping_sub(one).cast_signed() > 0 {
        true => other,
        false => one,
    }
}
