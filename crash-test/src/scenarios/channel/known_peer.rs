//! The peer's incarnations that an end can know, and the restarts that must be reported.

use crate::kit::{Outcome, ensure};

/// The peer's incarnation that an end knows: one of `least` to `most`. If `least` is 0, it may
/// know none; if `most` is 0, it knows none.
#[derive(Clone, Copy, Default)]
pub(super) struct KnownPeer {
    least: u32,
    most: u32,
}

impl KnownPeer {
    /// Notes that a message of incarnation `sender` has arrived.
    pub(super) fn received(&mut self, sender: u32) -> Outcome {
        let Self { least, most } = *self;
        ensure(sender >= least, || {
            format!("a message of incarnation {sender} arrived after {least} was reported")
        })?;
        ensure(least == 0 || sender <= most, || {
            format!("a message of incarnation {sender} arrived, and its restart was not reported")
        })?;
        (self.least, self.most) = (sender, sender);
        Ok(())
    }

    /// Notes that a message was sent. Incarnation `opened` of the peer had opened its end before
    /// the call, and `begun` had begun to open it at the end of the call.
    pub(super) fn sent(&mut self, opened: u32, begun: u32) -> Outcome {
        let most = self.most;
        ensure(self.least == 0 || opened <= most, || {
            format!("{opened} was open when it sent, and no restart since {most} was reported")
        })?;
        self.least = self.least.max(opened);
        self.most = most.max(begun);
        Ok(())
    }

    /// Notes that a restart was reported; incarnation `begun` had begun by then.
    pub(super) fn restarted(&mut self, begun: u32) -> Outcome {
        ensure(self.most != 0, || {
            "a restart was reported for a peer that the end did not know".to_owned()
        })?;
        ensure(self.least < begun, || {
            format!("a restart was reported again: the end knows {begun} already")
        })?;
        self.least += 1;
        self.most = begun;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_is_reported_once_and_only_for_a_known_peer() {
        let mut peer = KnownPeer::default();
        assert!(peer.restarted(1).is_err(), "no peer is known");
        peer.sent(0, 0).unwrap();
        assert!(peer.restarted(1).is_err(), "no peer has received");
        peer.received(1).unwrap();
        assert!(peer.restarted(1).is_err(), "no restart happened");
        peer.restarted(2).unwrap();
        assert!(peer.restarted(2).is_err(), "again");
    }

    #[test]
    fn an_unreported_restart_is_noticed() {
        let mut peer = KnownPeer::default();
        peer.received(1).unwrap();
        assert!(peer.received(2).is_err());
        assert!(peer.sent(2, 2).is_err());
        peer.restarted(2).unwrap();
        assert!(peer.received(1).is_err(), "from an earlier incarnation");
        peer.received(2).unwrap();
        peer.sent(2, 2).unwrap();
    }
}
