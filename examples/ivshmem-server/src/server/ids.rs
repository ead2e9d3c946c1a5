//! Numbers of peers.

/// Gives each peer the next number that is free, from 0 on and from 65535 to 0 again.
///
/// A number that was given comes back after 65,536 peers: one that restarts is told
/// apart from what it was by its number alone.
#[derive(Debug, Default)]
pub(super) struct Ids {
    next: u16,
}

impl Ids {
    /// One that is not `taken`; not all may be.
    pub(super) fn give(&mut self, taken: impl Fn(u16) -> bool) -> u16 {
        loop {
            let id = self.next;
            self.next = id.wrapping_add(1);
            if !taken(id) {
                return id;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_round_and_pass_over_those_that_are_taken() {
        let mut ids = Ids::default();
        let free = |_| false;
        assert_eq!([ids.give(free), ids.give(free), ids.give(free)], [0, 1, 2]);
        assert_eq!(ids.give(|id| id < 65535), 65535);
        assert_eq!(ids.give(|id| id == 0), 1);
    }
}
