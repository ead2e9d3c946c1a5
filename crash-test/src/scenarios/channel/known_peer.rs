//! What an end can know of its peer's incarnations, and which restarts are to be reported.

use crate::kit::{Outcome, ensure};

/// The peer's incarnation that an end knows: one of `least` to `most`. A `least` of 0 says
/// that it may have met none, a `most` of 0 that it has met none.
#[derive(Clone, Copy, Default)]
pub(super) struct KnownPeer {
    least: u32,
    most: u32,
}

impl KnownPeer {
    /// A message of incarnation `sender` came.
    pub(super) fn received(&mut self, sender: u32) -> Outcome {
        let Self { least, most } = *self;
        ensure(sender >= least, || {
            format!("a message of incarnation {sender} came after {least} was reported")
        })?;
        ensure(least == 0 || sender <= most, || {
            format!("a message of incarnation {sender} came, and its restart was not reported")
        })?;
        (self.least, self.most) = (sender, sender);
        Ok(())
    }

    /// A message was sent. Incarnation `opened` of the peer was there before the call, and
    /// `begun` had begun at its end.
    pub(super) fn sent(&mut self, opened: u32, begun: u32) -> Outcome {
        let most = self.most;
        ensure(self.least == 0 || opened <= most, || {
            format!("{opened} was there when it sent, and no restart since {most} was reported")
        })?;
        self.least = self.least.max(opened);
        self.most = most.max(begun);
        Ok(())
    }

    /// A restart was reported; incarnation `begun` had begun by then.
    pub(super) fn restarted(&mut self, begun: u32) -> Outcome {
        ensure(self.most != 0, || {
            "a restart of a peer was reported that it never met".to_owned()
        })?;
        ensure(self.least < begun, || {
            format!("a restart was reported again: it knows {begun} already")
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
    fn a_restart_is_reported_once_and_not_before_a_peer_was_met() {
        let mut peer = KnownPeer::default();
        assert!(peer.restarted(1).is_err(), "never met");
        peer.sent(0, 0).unwrap();
        assert!(peer.restarted(1).is_err(), "sent to nobody");
        peer.received(1).unwrap();
        assert!(peer.restarted(1).is_err(), "there was none");
        peer.restarted(2).unwrap();
        assert!(peer.restarted(2).is_err(), "again");
    }

    #[test]
    fn a_restart_that_is_not_reported_is_noticed() {
        let mut peer = KnownPeer::default();
        peer.received(1).unwrap();
        assert!(peer.received(2).is_err());
        assert!(peer.sent(2, 2).is_err());
        peer.restarted(2).unwrap();
        assert!(peer.received(1).is_err(), "of one before");
        peer.received(2).unwrap();
        peer.sent(2, 2).unwrap();
    }
}
