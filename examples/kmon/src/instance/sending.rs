//! The sending thread of an instance: sends the orders of the outbox, and waits for room in the
//! ring.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kmon_protocol::LinkError;
use kmon_protocol::link::{CommandSender, Sent};

use super::flags::Flags;
use super::plan::Plan;
use super::state::State;

/// How often a thread that waits for an order checks whether its run has ended; it is also woken
/// then.
const IDLE: Duration = Duration::from_secs(1);
/// How often it checks this while it waits for room in the ring.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// How long the last orders may take when KMON leaves.
const LAST_ORDERS: Duration = Duration::from_millis(500);

/// Sends until the run is `over`, or KMON leaves.
pub(super) fn send_orders(
    mut sender: CommandSender<'_>,
    plan: &Plan,
    flags: &Flags,
    over: &AtomicBool,
) {
    let mut last_call = None;
    loop {
        if flags.is_left() {
            let until = *last_call.get_or_insert_with(|| Instant::now() + LAST_ORDERS);
            if plan.outbox.is_empty() || Instant::now() > until {
                return;
            }
        }
        let is_corrupt = matches!(plan.shared.lock().state, State::Corrupt(_));
        if is_corrupt || over.load(Ordering::Relaxed) || flags.is_killed() {
            return;
        }
        let longest = if flags.is_left() { POLL_INTERVAL } else { IDLE };
        let Some((incarnation, order)) = plan.outbox.take(longest) else {
            continue;
        };
        let command = order.as_command();
        loop {
            match sender.send(&command, incarnation) {
                Ok(Sent::Whole) => break,
                // The order can be sent again: an incarnation of guestd that it is not for discards
                // it.
                Ok(Sent::Restarted) => {}
                Ok(Sent::Full) if flags.is_over() || over.load(Ordering::Relaxed) => return,
                Ok(Sent::Full) if order.is_transfer() => sender.wait_for_batch(POLL_INTERVAL),
                Ok(Sent::Full) => sender.wait_for_space(POLL_INTERVAL),
                Err(error) => return note_broken_region(plan, &error),
            }
        }
    }
}

fn note_broken_region(plan: &Plan, error: &LinkError) {
    let number = plan.settings.partition;
    if plan.shared.become_corrupt(error) {
        plan.notices.post(format!(
            "instance {number}'s region is broken: {error}; kmreset {number} starts it again"
        ));
    }
}
