//! Numbers of peers.

/// Allocates the next free number for each peer, from 0 to 65535 and then from 0 again.
///
/// A number is used again only after 65,536 peers, so that a restarted peer has another number
/// than before.
#[derive(Debug, Default)]
pub(super) struct Ids {
    next: u16,
}

impl Ids {
    /// Returns the next number for which `taken` is false; there must be one.
    pub(super) fn allocate(&mut self, taken: impl Fn(u16) -> bool) -> u16 {
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
    fn numbers_increase_and_wrap_around_and_skip_taken_ones() {
        let mut ids = Ids::default();
        let free = |_| false;
        let first = [ids.allocate(free), ids.allocate(free), ids.allocate(free)];
        assert_eq!(first, [0, 1, 2]);
        assert_eq!(ids.allocate(|id| id < 65535), 65535);
        assert_eq!(ids.allocate(|id| id == 0), 1);
    }
}
