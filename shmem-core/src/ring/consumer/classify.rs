//! The rules for restarts: what a consumer does with the record that it found.

use super::super::epoch;
use crate::claim::OnRestart;

/// The state of the consumer that the rules use.
#[derive(Clone, Copy)]
pub(super) struct ConsumerView {
    /// The epoch of our end.
    pub(super) epoch: u32,
    /// The last known epoch of the producer's end; 0 if there was no producer.
    pub(super) peer: u32,
    /// The policy for records that were pushed before a restart.
    pub(super) on_restart: OnRestart,
}

/// What the consumer does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Return the record.
    Deliver,
    /// Discard the record.
    Stale,
    /// Report the restart: from here on records are from the producer with this epoch.
    ProducerRestarted(u32),
    /// Report an empty ring: there is no record and no restart.
    Nothing,
    /// Search again: there was no record, but the producer has restarted, and records of the
    /// one before may have become visible.
    RestartedEmpty,
}

/// Decides what to do with a record that has this `stamp`, or with none. `peer` is the
/// epoch of the producing end, loaded after the record's header. Returns `None` if `peer` is not a
/// valid epoch (E2).
pub(super) fn classify(stamp: Option<u32>, peer: u32, known: ConsumerView) -> Option<Class> {
    // A producer claims the end before it publishes a record.
    let least = if stamp.is_some() { 1 } else { known.peer };
    if !epoch::is_valid(peer, least) {
        return None;
    }
    let Some(stamp) = stamp else {
        // The first producer is not a restart.
        let is_known = peer == known.peer || known.peer == 0;
        return Some(if is_known {
            Class::Nothing
        } else {
            Class::RestartedEmpty
        });
    };
    let (from, to) = (epoch::of_producer(stamp), epoch::of_consumer(stamp));
    Some(match known.on_restart {
        OnRestart::Keep if from == known.peer => Class::Deliver,
        OnRestart::Keep => Class::ProducerRestarted(from),
        OnRestart::Discard if peer != known.peer => Class::ProducerRestarted(peer),
        OnRestart::Discard => {
            let is_first = to == 0 && known.epoch == 1; // E3
            let is_ours = from == peer && (to == known.epoch || is_first);
            if is_ours {
                Class::Deliver
            } else {
                Class::Stale
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::Class::*;
    use super::*;
    use OnRestart::{Discard, Keep};

    #[test]
    fn records_are_classified_by_their_epochs() {
        // Our epoch, the producer's last known epoch, policy; stamp (from, to), epoch in memory.
        let cases = [
            ("the usual record", (1, 1, Keep), Some((1, 1)), 1, Deliver),
            (
                "the usual record",
                (1, 1, Discard),
                Some((1, 1)),
                1,
                Deliver,
            ),
            (
                "kept although it was for an earlier consumer",
                (2, 1, Keep),
                Some((1, 1)),
                1,
                Deliver,
            ),
            (
                "discarded because it was for an earlier consumer",
                (2, 1, Discard),
                Some((1, 1)),
                1,
                Stale,
            ),
            (
                "for the first consumer, which we are",
                (1, 1, Discard),
                Some((1, 0)),
                1,
                Deliver,
            ),
            (
                "for the first consumer, which we are not",
                (2, 1, Discard),
                Some((1, 0)),
                1,
                Stale,
            ),
            (
                "kept before the restart is reported",
                (1, 1, Keep),
                Some((1, 1)),
                2,
                Deliver,
            ),
            (
                "the first record of the next producer",
                (1, 1, Keep),
                Some((2, 1)),
                2,
                ProducerRestarted(2),
            ),
            (
                "the next producer's record when a third has claimed the end",
                (1, 1, Keep),
                Some((2, 1)),
                3,
                ProducerRestarted(2),
            ),
            (
                "the restart is reported before old records are discarded",
                (1, 1, Discard),
                Some((1, 1)),
                2,
                ProducerRestarted(2),
            ),
            (
                "an old record after the report of the restart",
                (1, 2, Discard),
                Some((1, 1)),
                2,
                Stale,
            ),
            (
                "the first producer's first record",
                (1, 0, Keep),
                Some((1, 0)),
                1,
                ProducerRestarted(1),
            ),
            (
                "the first producer's first record",
                (1, 0, Discard),
                Some((1, 0)),
                1,
                ProducerRestarted(1),
            ),
            ("nothing", (1, 1, Keep), None, 1, Nothing),
            ("no producer yet", (1, 0, Discard), None, 0, Nothing),
            (
                "nothing from the first producer",
                (1, 0, Discard),
                None,
                1,
                Nothing,
            ),
            (
                "nothing, another has come",
                (1, 1, Discard),
                None,
                2,
                RestartedEmpty,
            ),
            (
                "nothing, another has come",
                (1, 1, Keep),
                None,
                2,
                RestartedEmpty,
            ),
            (
                "epoch 1 follows 65535",
                (1, 0xffff, Keep),
                Some((1, 1)),
                1,
                ProducerRestarted(1),
            ),
        ];
        for (case, (epoch, known, on_restart), stamp, peer, verdict) in cases {
            let stamp = stamp.map(|(from, to)| epoch::stamp(from, to));
            let known = ConsumerView {
                epoch,
                peer: known,
                on_restart,
            };
            assert_eq!(classify(stamp, peer, known), Some(verdict), "{case}");
        }
    }

    #[test]
    fn an_invalid_epoch_is_found_with_and_without_a_record() {
        let known = |peer, on_restart| ConsumerView {
            epoch: 1,
            peer,
            on_restart,
        };
        for on_restart in [Keep, Discard] {
            for stamp in [None, Some(epoch::stamp(1, 1))] {
                let of_record = stamp.map(|_| (0, 0));
                let bad = [(0, 1), (0x1_0000, 1), (u32::MAX, 0)].into_iter();
                for (value, peer) in bad.chain(of_record) {
                    assert_eq!(classify(stamp, value, known(peer, on_restart)), None);
                }
            }
        }
    }
}
