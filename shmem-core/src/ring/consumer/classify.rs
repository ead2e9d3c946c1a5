//! What a consumer does with what a look found: the rules of restarts, without the ring.

use super::super::epoch;
use crate::claim::OnRestart;
use crate::error::{ControlWord, Corrupt};

/// What a consumer goes by.
#[derive(Clone, Copy)]
pub(super) struct ConsumerView {
    /// How many incarnations had our end, with ours.
    pub(super) epoch: u32,
    /// How many had the producer's, as far as we know; 0 if there was none.
    pub(super) peer: u32,
    /// What becomes of what was pushed before a restart.
    pub(super) on_restart: OnRestart,
}

/// What becomes of what a look found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// A record to be handed out.
    Deliver,
    /// A record to be discarded.
    Stale,
    /// From here on the producer is another, with this epoch.
    ProducerRestarted(u32),
    /// Nothing is there, and nothing to say.
    Nothing,
    /// Nothing is there, but the producer is another: what the one before it published may
    /// only now be seen.
    RestartedEmpty,
}

/// Says what becomes of a record with this `stamp`, or of none, where the producing end's
/// epoch was `peer` after that was looked at.
///
/// # Errors
///
/// [`Corrupt`] if `peer` is no epoch (E2).
pub(super) fn classify(
    stamp: Option<u32>,
    peer: u32,
    known: ConsumerView,
) -> Result<Class, Corrupt> {
    // Who published a record has claimed the end before.
    let least = if stamp.is_some() { 1 } else { known.peer };
    let peer = epoch::check(ControlWord::ProducerEpoch, peer, least)?;
    let Some(stamp) = stamp else {
        // Whoever is first has nothing to say before its first record.
        let is_known = peer == known.peer || known.peer == 0;
        return Ok(if is_known {
            Class::Nothing
        } else {
            Class::RestartedEmpty
        });
    };
    let (from, to) = (epoch::of_producer(stamp), epoch::of_consumer(stamp));
    Ok(match known.on_restart {
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
    fn each_case() {
        // Our epoch, the producer's as known, policy; stamp (from, to), epoch in memory.
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
                "kept, though for an earlier consumer",
                (2, 1, Keep),
                Some((1, 1)),
                1,
                Deliver,
            ),
            (
                "discarded, as for an earlier consumer",
                (2, 1, Discard),
                Some((1, 1)),
                1,
                Stale,
            ),
            (
                "for the first consumer, and we are it",
                (1, 1, Discard),
                Some((1, 0)),
                1,
                Deliver,
            ),
            (
                "for the first consumer, and we are not it",
                (2, 1, Discard),
                Some((1, 0)),
                1,
                Stale,
            ),
            (
                "kept, before the restart is told",
                (1, 1, Keep),
                Some((1, 1)),
                2,
                Deliver,
            ),
            (
                "the first kept record of the next",
                (1, 1, Keep),
                Some((2, 1)),
                2,
                ProducerRestarted(2),
            ),
            (
                "the one after the next, already",
                (1, 1, Keep),
                Some((2, 1)),
                3,
                ProducerRestarted(2),
            ),
            (
                "told before the old ones go",
                (1, 1, Discard),
                Some((1, 1)),
                2,
                ProducerRestarted(2),
            ),
            (
                "an old one after it was told",
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
            ("nothing, nobody ever", (1, 0, Discard), None, 0, Nothing),
            (
                "nothing, the first has come",
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
                "from 65535 epochs go on with 1",
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
            assert_eq!(classify(stamp, peer, known), Ok(verdict), "{case}");
        }
    }

    #[test]
    fn an_epoch_that_is_none_is_corrupt_whatever_was_found() {
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
                    let corrupt = Corrupt {
                        word: ControlWord::ProducerEpoch,
                        value,
                    };
                    assert_eq!(
                        classify(stamp, value, known(peer, on_restart)),
                        Err(corrupt)
                    );
                }
            }
        }
    }
}
