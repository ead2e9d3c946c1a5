//! Rings: their unread records, and the holders of their ends.

use shmem_core::Window;
use shmem_core::ring::Ring;
use shmem_core::ring::inspect as ring;
use shmem_core::typed_ring::inspect as typed_ring;

use super::contents::Inside;
use crate::report;
use crate::text::{count, escaped, hex};

/// The number of bytes of a record to return.
const SHOWN: usize = 64;

impl Inside<'_, '_> {
    pub(super) fn ring(&mut self, window: Window<'_>) -> Option<report::Ring> {
        let ring = self.attached(Ring::attach(window))?;
        let seen = ring.inspect(usize::MAX);
        self.check_positions(&seen);
        let backlog = &seen.backlog;
        Some(report::Ring {
            capacity: ring.capacity(),
            fill_bytes: backlog.bytes,
            records: backlog.records,
            earlier: backlog.earlier,
            counted_to: match backlog.stop {
                ring::Stop::Nothing => "end",
                ring::Stop::Limit => "limit",
                ring::Stop::Moving => "moving",
                ring::Stop::Corrupt(_) => "corrupt",
            },
            position: seen.position,
            head: seen.head,
            tail: seen.tail,
            producer: self.claim(seen.producer, "producing"),
            consumer: self.claim(seen.consumer, "consuming"),
            discarded: seen.discarded,
            records_bell: self.bell(seen.records),
            space_bell: self.bell(seen.space),
            unread: ring
                .unread()
                .take(self.scene.records.min(backlog.records))
                .map(record)
                .collect(),
        })
    }

    pub(super) fn typed_ring(&mut self, window: Window<'_>) -> Option<report::TypedRing> {
        let seen = self.attached(typed_ring::Inspection::new(window))?;
        let claim = |claim: typed_ring::Claim| ring::Claim {
            word: claim.word,
            epoch: claim.epoch.into(),
        };
        Some(report::TypedRing {
            record_bytes: seen.record_size,
            records: seen.backlog(),
            position: seen.position,
            head: seen.head,
            tail: seen.tail,
            producer: self.claim(claim(seen.producer), "producing"),
            consumer: self.claim(claim(seen.consumer), "consuming"),
            discarded: seen.discarded,
        })
    }

    fn check_positions(&mut self, seen: &ring::Inspection) {
        let end = seen.position.wrapping_add(seen.backlog.bytes);
        if let ring::Stop::Corrupt(corrupt) = seen.backlog.stop {
            let ring::Backlog { records, .. } = seen.backlog;
            let what = format!(
                "its {} {:#x} is invalid: position {end:#x}, {} before it",
                corrupt.word,
                corrupt.value,
                count(records, "sound record")
            );
            return self.damaged("ring.records", what);
        }
        let ahead = seen.tail.wrapping_sub(end);
        let whole = seen.backlog.stop == ring::Stop::Nothing;
        if !seen.tail.is_multiple_of(8) || (whole && ahead.cast_signed() > 0) {
            let what = format!(
                "its tail {:#x} is not where its records end, {end:#x}",
                seen.tail
            );
            self.damaged("ring.tail", what);
        }
    }

    fn claim(&mut self, claim: ring::Claim, what: &str) -> report::Claim {
        if claim.word != 0 && claim.incarnation().is_none() {
            let text = format!(
                "its {what} end is claimed by {:#010x}, not an incarnation",
                claim.word
            );
            self.damaged("ring.claim", text);
        }
        if claim.epoch > 0xffff {
            let text = format!("the epoch of its {what} end is {:#x}", claim.epoch);
            self.damaged("ring.epoch", text);
        }
        let held = claim.is_held();
        let incarnation = claim.incarnation().map(|incarnation| {
            if held {
                self.holder(
                    incarnation,
                    "ring.end",
                    format_args!("its {what} end is held by"),
                )
            } else {
                self.scene.incarnations.view(incarnation)
            }
        });
        report::Claim {
            incarnation,
            held,
            epoch: claim.epoch,
        }
    }

    fn bell(&mut self, bell: ring::BellWords) -> report::Bell {
        if bell.armed > 1 {
            let what = format!(
                "one of its doorbells is armed with {:#x}, not 0 or 1",
                bell.armed
            );
            self.damaged("ring.bell", what);
        }
        report::Bell {
            armed: bell.armed != 0,
            ring_count: bell.ring_count,
        }
    }
}

fn record(pending: ring::Pending<'_>) -> report::Record {
    let mut bytes = [0; SHOWN];
    let len = pending.record.read(0, &mut bytes);
    report::Record {
        position: pending.position,
        bytes: pending.record.len(),
        producer_epoch: pending.producer_epoch,
        consumer_epoch: pending.consumer_epoch,
        hex: hex(&bytes[..len]),
        text: escaped(&bytes[..len]),
    }
}
