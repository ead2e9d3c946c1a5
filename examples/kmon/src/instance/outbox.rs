//! The commands that wait for room in an instance's region.
//!
//! The front end adds orders, and the instance's sending thread takes them. Only console input has
//! a bound: the other orders are few.
//!
//! - **O1** An order is for one incarnation of guestd: the one that has greeted last when the order
//!   is added. No other incarnation gets it.
//! - **O2** While guestd is gone, the outbox accepts only the order to halt, which is for the next
//!   incarnation.
//! - **O3** Records of copies wait until there are no other orders, so that they delay no input. They
//!   have a bound of their own.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kmon_protocol::Command;
use kmon_protocol::link::CommandSender;
use kmon_protocol::transfer::Request;

/// A [`Command`] that owns its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Input(Vec<u8>),
    Resize {
        rows: u16,
        columns: u16,
    },
    Exec {
        stream: u32,
        timeout_ms: u32,
        arguments: Vec<Vec<u8>>,
    },
    Kill {
        stream: u32,
    },
    QueryIdle {
        stream: u32,
    },
    Halt,
    /// A record of a copy.
    Transfer(TransferRecord),
}

/// The record of a [`Command::Transfer`], which can be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TransferRecord(Vec<u8>);

impl TransferRecord {
    /// Encodes a request. Returns `None` if an instance could not decode it.
    pub(crate) fn new(stream: u32, request: Request<'_>) -> Option<Self> {
        let mut record = Vec::new();
        // The sending thread encodes it again, for an incarnation.
        Command::Transfer { stream, request }.encode(0, &mut record);
        Command::decode(&record).is_ok().then_some(Self(record))
    }

    fn as_command(&self) -> Command<'_> {
        let decoded = Command::decode(&self.0);
        decoded.expect("it was decoded when it was made").1
    }
}

impl Order {
    pub(crate) fn as_command(&self) -> Command<'_> {
        match self {
            Self::Input(bytes) => Command::Input(bytes),
            Self::Resize { rows, columns } => Command::Resize {
                rows: *rows,
                columns: *columns,
            },
            Self::Exec {
                stream,
                timeout_ms,
                arguments,
            } => Command::Exec {
                stream: *stream,
                timeout_ms: *timeout_ms,
                arguments: arguments.iter().map(Vec::as_slice).collect(),
            },
            Self::Kill { stream } => Command::Kill { stream: *stream },
            Self::QueryIdle { stream } => Command::QueryIdle { stream: *stream },
            Self::Halt => Command::Halt,
            Self::Transfer(record) => record.as_command(),
        }
    }

    /// Returns true if it belongs to a copy.
    pub(crate) fn is_transfer(&self) -> bool {
        matches!(self, Self::Transfer(_))
    }

    fn input_len(&self) -> usize {
        match self {
            Self::Input(bytes) => bytes.len(),
            _ => 0,
        }
    }
}

#[derive(Debug, Default)]
struct Queue {
    /// The incarnation of guestd that the orders are for.
    incarnation: Option<u32>,
    orders: VecDeque<Order>,
    input_bytes: usize,
    /// Records of copies; they wait until there are no orders (O3).
    transfers: VecDeque<TransferRecord>,
    transfer_bytes: usize,
    discarded: Discarded,
}

/// The result of [`Outbox::put_transfer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    Done,
    /// There is no room yet.
    Full,
    /// The incarnation of guestd is gone.
    Gone,
}

/// Orders that were discarded because their incarnation of guestd is gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Discarded {
    /// Bytes of console input.
    pub(crate) input: usize,
    /// Commands of `kmexec`.
    pub(crate) commands: usize,
}

/// A queue of [`Order`]s to one instance.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    queue: Mutex<Queue>,
    changed: Condvar,
    /// There is room for records of copies, or their incarnation is gone.
    room: Condvar,
}

impl Outbox {
    /// Bytes of input that may wait here; the rest of a longer paste waits in the terminal.
    const MAX_INPUT: usize = 256 * 1024;

    /// Records of copies can be added while fewer bytes of them wait here. A thread adds at most
    /// 64 KiB at once.
    const MIN_TRANSFER: usize = 128 * 1024;

    /// Returns the incarnation of guestd that orders are for; `None` while guestd is gone.
    pub(crate) fn incarnation(&self) -> Option<u32> {
        self.lock().incarnation
    }

    /// Adds an order that is not console input. Returns false if guestd is gone.
    pub(crate) fn put(&self, order: Order) -> bool {
        self.put_if(order, |_| true)
    }

    /// Adds an order as [`Outbox::put`], but only if `incarnation` is the current one.
    pub(crate) fn put_for(&self, incarnation: Option<u32>, order: Order) -> bool {
        self.put_if(order, |now| now == incarnation)
    }

    fn put_if(&self, order: Order, wanted: impl FnOnce(Option<u32>) -> bool) -> bool {
        let mut queue = self.lock();
        let taken =
            order == Order::Halt || (queue.incarnation.is_some() && wanted(queue.incarnation));
        if taken {
            queue.orders.push_back(order);
        }
        drop(queue);
        self.changed.notify_all();
        taken
    }

    /// Adds console input for `incarnation` in records of at most [`CommandSender::MAX_BODY`]
    /// bytes, after waiting up to `patience` for room. Returns false and adds nothing if there is
    /// no room, or if `incarnation` is not the current one.
    pub(crate) fn put_input(
        &self,
        input: &[u8],
        incarnation: Option<u32>,
        patience: Duration,
    ) -> bool {
        let deadline = Instant::now() + patience;
        let mut queue = self.lock();
        while queue.input_bytes + input.len() > Self::MAX_INPUT {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            queue = self.wait(queue, left);
        }
        if incarnation.is_none() || queue.incarnation != incarnation {
            return false;
        }
        queue.input_bytes += input.len();
        for record in input.chunks(CommandSender::MAX_BODY) {
            queue.orders.push_back(Order::Input(record.to_vec()));
        }
        drop(queue);
        self.changed.notify_all();
        true
    }

    /// Moves records of a copy here, for `incarnation`, after waiting up to `patience` for room.
    pub(crate) fn put_transfer(
        &self,
        records: &mut Vec<TransferRecord>,
        incarnation: u32,
        patience: Duration,
    ) -> Put {
        let deadline = Instant::now() + patience;
        let mut queue = self.lock();
        while queue.incarnation == Some(incarnation) && !queue.has_room() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Put::Full;
            }
            let waited = self.room.wait_timeout(queue, left);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        if queue.incarnation != Some(incarnation) {
            return Put::Gone;
        }
        queue.transfer_bytes += records.iter().map(|record| record.0.len()).sum::<usize>();
        queue.transfers.extend(records.drain(..));
        drop(queue);
        self.changed.notify_all();
        Put::Done
    }

    /// Takes the oldest order, or a record of a copy, and the incarnation that it is for, after waiting up to `timeout`.
    pub(crate) fn take(&self, timeout: Duration) -> Option<(u32, Order)> {
        let mut queue = self.lock();
        let is_empty = queue.orders.is_empty() && queue.transfers.is_empty();
        if is_empty || queue.incarnation.is_none() {
            queue = self.wait(queue, timeout);
        }
        let incarnation = queue.incarnation?;
        let had_room = queue.has_room();
        let order = queue.pop()?;
        let has_room = queue.has_room();
        drop(queue);
        match order.is_transfer() {
            // Not for each record: a thread that waits for room can add many.
            true if had_room || !has_room => {}
            true => self.room.notify_all(),
            false => self.changed.notify_all(),
        }
        Some((incarnation, order))
    }

    /// Ends the wait of [`Outbox::take`].
    pub(crate) fn wake(&self) {
        let _queue = self.lock();
        self.changed.notify_all();
    }

    /// Returns true if no order waits, apart from records of copies.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().orders.is_empty()
    }

    /// Discards all orders, for a new run of the instance.
    pub(crate) fn clear(&self) {
        *self.lock() = Queue::default();
        self.announce();
    }

    /// Notes that guestd is gone. Discards the orders for it.
    pub(crate) fn suspend(&self) {
        self.lock().switch_to(None);
        self.announce();
    }

    /// Notes that guestd runs as incarnation number `incarnation`. Returns what was discarded since
    /// the last call.
    pub(crate) fn begin(&self, incarnation: u32) -> Discarded {
        let mut queue = self.lock();
        queue.switch_to(Some(incarnation));
        let discarded = std::mem::take(&mut queue.discarded);
        drop(queue);
        self.announce();
        discarded
    }

    fn announce(&self) {
        self.changed.notify_all();
        self.room.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, queue: MutexGuard<'a, Queue>, timeout: Duration) -> MutexGuard<'a, Queue> {
        let waited = self.changed.wait_timeout(queue, timeout);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Queue {
    /// Returns true if records of copies can be added.
    fn has_room(&self) -> bool {
        self.transfer_bytes < Outbox::MIN_TRANSFER
    }

    fn pop(&mut self) -> Option<Order> {
        if let Some(order) = self.orders.pop_front() {
            self.input_bytes -= order.input_len();
            return Some(order);
        }
        let record = self.transfers.pop_front()?;
        self.transfer_bytes -= record.0.len();
        Some(Order::Transfer(record))
    }

    fn switch_to(&mut self, incarnation: Option<u32>) {
        if self.incarnation == incarnation {
            return;
        }
        self.incarnation = incarnation;
        self.discarded.input += std::mem::take(&mut self.input_bytes);
        let is_command = |order: &&Order| matches!(order, Order::Exec { .. });
        self.discarded.commands += self.orders.iter().filter(is_command).count();
        self.orders.retain(|order| *order == Order::Halt); // O2
        self.transfers.clear();
        self.transfer_bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT_ONCE: Duration = Duration::ZERO;

    fn outbox() -> Outbox {
        let outbox = Outbox::default();
        assert_eq!(outbox.begin(1), Discarded::default());
        outbox
    }

    fn input(text: &str) -> Order {
        Order::Input(text.into())
    }

    fn exec(stream: u32) -> Order {
        Order::Exec {
            stream,
            timeout_ms: 0,
            arguments: Vec::new(),
        }
    }

    #[test]
    fn input_is_cut_into_records_and_keeps_its_order() {
        let outbox = outbox();
        let max = CommandSender::MAX_BODY;
        let text: String = ('a'..='z').cycle().take(2 * max + 1).collect();
        assert!(outbox.put_input(text.as_bytes(), Some(1), AT_ONCE));
        outbox.put(Order::Halt);
        let taken: Vec<_> = std::iter::from_fn(|| outbox.take(AT_ONCE)).collect();
        let expected = [&text[..max], &text[max..2 * max], &text[2 * max..]];
        assert_eq!(taken[..3], expected.map(|text| (1, input(text))));
        assert_eq!(taken[3], (1, Order::Halt));
    }

    #[test]
    fn input_to_a_silent_instance_is_refused_at_the_bound() {
        let outbox = outbox();
        assert!(outbox.put_input(&vec![0; Outbox::MAX_INPUT], Some(1), AT_ONCE));
        assert!(!outbox.put_input(b"x", Some(1), AT_ONCE));
        outbox.put(Order::Halt); // Orders still get through.
        assert!(outbox.take(AT_ONCE).is_some());
        assert!(outbox.put_input(b"x", Some(1), AT_ONCE));
    }

    #[test]
    fn orders_for_one_incarnation_never_go_to_another() {
        let outbox = outbox();
        let incarnation = outbox.incarnation();
        assert!(outbox.put_input(b"old", incarnation, AT_ONCE) && outbox.put(exec(1)));
        outbox.suspend();
        assert!(!outbox.put_input(b"no guestd", incarnation, AT_ONCE) && !outbox.put(exec(2)));
        assert_eq!(outbox.take(AT_ONCE), None);
        let discarded = Discarded {
            input: 3,
            commands: 1,
        };
        assert_eq!(outbox.begin(2), discarded);
        assert!(!outbox.put_input(b"late", incarnation, AT_ONCE));
        assert!(!outbox.put_for(incarnation, exec(3)) && outbox.put_for(Some(2), exec(4)));
        // A repeated greeting changes nothing.
        assert_eq!(outbox.begin(2), Discarded::default());
        assert_eq!(outbox.take(AT_ONCE), Some((2, exec(4))));
        assert_eq!(outbox.take(AT_ONCE), None);
    }

    fn cancel(stream: u32) -> TransferRecord {
        TransferRecord::new(stream, Request::Cancel).unwrap()
    }

    #[test]
    fn input_passes_the_records_of_copies() {
        let outbox = outbox();
        for stream in [1, 2] {
            let records = &mut vec![cancel(stream)];
            assert_eq!(outbox.put_transfer(records, 1, AT_ONCE), Put::Done);
        }
        assert!(outbox.put_input(b"key", Some(1), AT_ONCE));
        let taken: Vec<_> = std::iter::from_fn(|| outbox.take(AT_ONCE)).collect();
        let copies = [1, 2].map(|stream| (1, Order::Transfer(cancel(stream))));
        assert_eq!(taken[0], (1, input("key")));
        assert_eq!(taken[1..], copies);
    }

    #[test]
    fn records_of_copies_have_a_bound_and_end_with_their_incarnation() {
        let outbox = outbox();
        let bytes = &[0; Request::MAX_DATA];
        let data = TransferRecord::new(1, Request::Data { offset: 0, bytes }).unwrap();
        let put = || outbox.put_transfer(&mut vec![data.clone()], 1, AT_ONCE);
        let count = (0..1000).take_while(|_| put() == Put::Done).count();
        assert!(count < 100, "{count}");
        assert_eq!(put(), Put::Full);
        outbox.suspend();
        assert_eq!(put(), Put::Gone);
        outbox.begin(2);
        assert_eq!(put(), Put::Gone);
        assert_eq!(outbox.take(AT_ONCE), None);
    }

    #[test]
    fn a_path_that_an_instance_cannot_decode_makes_no_record() {
        let path = &b"a\0b"[..];
        assert_eq!(TransferRecord::new(1, Request::Get { path }), None);
    }

    #[test]
    fn the_order_to_halt_goes_to_the_next_incarnation() {
        let outbox = Outbox::default();
        assert!(outbox.put(Order::Halt));
        assert_eq!(outbox.take(AT_ONCE), None);
        outbox.begin(7);
        assert_eq!(outbox.take(AT_ONCE), Some((7, Order::Halt)));
    }
}
