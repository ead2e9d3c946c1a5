//! Locks, a sentence each: what is worth saying differs from kind to kind.

use super::names::{called, incarnation};
use super::tables;
use crate::report::{Bakery, Barrier, Contents, IncarnationView, Mutex, Report, RwLock, Semaphore};

pub(super) fn table(report: &Report, width: Option<u16>) -> Option<String> {
    let rows = report.segments.iter().filter_map(|segment| {
        let state = match segment.contents.as_ref()? {
            Contents::Mutex(mutex) => describe_mutex(mutex),
            Contents::Bakery(bakery) => describe_bakery(bakery),
            Contents::Semaphore(semaphore) => describe_semaphore(semaphore),
            Contents::RwLock(lock) => describe_rwlock(lock),
            Contents::Barrier(barrier) => describe_barrier(barrier),
            Contents::Ring(_)
            | Contents::TypedRing(_)
            | Contents::Snapshot(_)
            | Contents::CallLine(_) => return None,
        };
        let name = called(&segment.name, segment.row);
        Some(vec![name, segment.kind.clone(), state])
    });
    tables::table(&["LOCK", "KIND", "STATE"], rows, width)
}

fn describe_mutex(mutex: &Mutex) -> String {
    let mut parts = vec![held(mutex.owner)];
    parts.extend(contended(mutex.contended));
    parts.extend(unwell(mutex.health));
    parts.join("; ")
}

fn describe_bakery(bakery: &Bakery) -> String {
    let mut parts = vec![held(bakery.owner)];
    let tickets = bakery.tickets.iter().map(|ticket| {
        let who = called_by(ticket.incarnation, ticket.partition);
        match ticket.number {
            Some(number) => format!("{who} {} {number}", ticket.colour),
            None => format!("{who} draws"),
        }
    });
    parts.extend(list(tickets).map(|tickets| format!("tickets {tickets}")));
    parts.extend(unwell(bakery.health));
    parts.join("; ")
}

fn describe_semaphore(semaphore: &Semaphore) -> String {
    let Semaphore {
        free,
        permits,
        capacity,
        ..
    } = semaphore;
    let mut parts = vec![format!("{free} of {permits} free, room for {capacity}")];
    let held = semaphore.held.iter();
    parts.extend(list(held.map(|held| {
        format!("{} has {}", incarnation(held.incarnation), held.permits)
    })));
    parts.extend(contended(semaphore.contended));
    parts.join("; ")
}

fn describe_rwlock(lock: &RwLock) -> String {
    let mut parts = Vec::new();
    if let Some(writer) = lock.writer {
        let does = if lock.writing {
            "writes"
        } else {
            "waits to write"
        };
        parts.push(format!("{} {does}", incarnation(writer)));
    }
    let readers = list(lock.readers.iter().copied().map(incarnation));
    parts.extend(readers.map(|readers| format!("read by {readers}")));
    if parts.is_empty() {
        parts.push("free".to_owned());
    }
    parts.extend(contended(lock.contended));
    parts.extend(unwell(lock.health));
    parts.join("; ")
}

fn describe_barrier(barrier: &Barrier) -> String {
    let mut parts = vec![format!("phase {}", barrier.phase)];
    let arrived = barrier.parties.iter().map(|party| {
        let who = called_by(party.incarnation, party.partition);
        let sleeps = if party.sleeps { " asleep" } else { "" };
        format!("{who} at {}{sleeps}", party.arrived)
    });
    parts.extend(list(arrived));
    parts.join("; ")
}

/// The incarnation in a partition's entry.
fn called_by(holder: Option<IncarnationView>, partition: u8) -> String {
    holder.map_or_else(|| format!("{partition}.?"), incarnation)
}

/// The first of them, and how many more there are; nothing if there are none.
fn list(mut items: impl Iterator<Item = String>) -> Option<String> {
    const SHOWN: usize = 16;
    let shown: Vec<_> = items.by_ref().take(SHOWN).collect();
    let text = shown.join(", ");
    match items.count() {
        0 => (!shown.is_empty()).then_some(text),
        more => Some(format!("{text} and {more} more")),
    }
}

fn held(owner: Option<IncarnationView>) -> String {
    owner.map_or("free".to_owned(), |owner| {
        format!("held by {}", incarnation(owner))
    })
}

fn contended(contended: bool) -> Option<String> {
    contended.then(|| "somebody sleeps for it".to_owned())
}

fn unwell(health: &str) -> Option<String> {
    (health != "whole").then(|| health.to_owned())
}
