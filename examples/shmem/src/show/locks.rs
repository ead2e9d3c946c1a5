//! Locks: a table with the state of each as text, because the kinds differ.

use super::names::{incarnation, segment_name};
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
        let name = segment_name(&segment.name, segment.row);
        Some(vec![name, segment.kind.clone(), state])
    });
    tables::table(&["LOCK", "KIND", "STATE"], rows, width)
}

fn describe_mutex(mutex: &Mutex) -> String {
    let mut parts = vec![held(mutex.owner)];
    parts.extend(contended(mutex.contended));
    parts.extend(describe_health(mutex.health));
    parts.join("; ")
}

fn describe_bakery(bakery: &Bakery) -> String {
    let mut parts = vec![held(bakery.owner)];
    let tickets = bakery.tickets.iter().map(|ticket| {
        let who = party_name(ticket.incarnation, ticket.partition);
        match ticket.number {
            Some(number) => format!("{who} {} {number}", ticket.colour),
            None => format!("{who} draws"),
        }
    });
    parts.extend(list(tickets).map(|tickets| format!("tickets {tickets}")));
    parts.extend(describe_health(bakery.health));
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
    parts.extend(describe_health(lock.health));
    parts.join("; ")
}

fn describe_barrier(barrier: &Barrier) -> String {
    let mut parts = vec![format!("phase {}", barrier.phase)];
    let arrived = barrier.parties.iter().map(|party| {
        let who = party_name(party.incarnation, party.partition);
        let sleeps = if party.sleeps { " asleep" } else { "" };
        format!("{who} at {}{sleeps}", party.arrived)
    });
    parts.extend(list(arrived));
    parts.join("; ")
}

/// Returns the incarnation in a partition's entry.
fn party_name(holder: Option<IncarnationView>, partition: u8) -> String {
    holder.map_or_else(|| format!("{partition}.?"), incarnation)
}

/// Returns the first items, and the number of further ones; `None` if there are no items.
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
    contended.then(|| "a waiter sleeps".to_owned())
}

fn describe_health(health: &str) -> Option<String> {
    (health != "whole").then(|| health.to_owned())
}
