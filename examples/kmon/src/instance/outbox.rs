//! The commands that wait for room in an instance's region.
//!
//! The front end puts, the instance's sending thread takes. Only console input
//! has a bound: the rest is a few records that a person or a poll caused.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kmon_protocol::Command;

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
        }
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
    orders: VecDeque<Order>,
    input_bytes: usize,
}

/// A queue of [`Order`]s to one instance.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    queue: Mutex<Queue>,
    changed: Condvar,
}

impl Outbox {
    /// Bytes of input that may wait; a paste beyond it waits in the terminal.
    const MAX_INPUT: usize = 256 * 1024;

    /// Puts an order that is not console input.
    pub(crate) fn put(&self, order: Order) {
        self.lock().orders.push_back(order);
        self.changed.notify_all();
    }

    /// Puts console input in records of at most `max_record` bytes; waits up to
    /// `patience` for room. False: there was none, and nothing was put.
    pub(crate) fn put_input(&self, input: &[u8], max_record: usize, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut queue = self.lock();
        while queue.input_bytes + input.len() > Self::MAX_INPUT {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            queue = self.wait(queue, left);
        }
        queue.input_bytes += input.len();
        for record in input.chunks(max_record) {
            queue.orders.push_back(Order::Input(record.to_vec()));
        }
        drop(queue);
        self.changed.notify_all();
        true
    }

    /// Takes the oldest order, waiting up to `timeout` for one.
    pub(crate) fn take(&self, timeout: Duration) -> Option<Order> {
        let mut queue = self.lock();
        if queue.orders.is_empty() {
            queue = self.wait(queue, timeout);
        }
        let order = queue.orders.pop_front()?;
        queue.input_bytes -= order.input_len();
        drop(queue);
        self.changed.notify_all();
        Some(order)
    }

    /// Throws away what waits: it was meant for a life that is over.
    pub(crate) fn clear(&self) {
        *self.lock() = Queue::default();
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, queue: MutexGuard<'a, Queue>, timeout: Duration) -> MutexGuard<'a, Queue> {
        let waited = self.changed.wait_timeout(queue, timeout);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_is_cut_into_records_and_keeps_its_order() {
        let outbox = Outbox::default();
        assert!(outbox.put_input(b"abcde", 2, Duration::ZERO));
        outbox.put(Order::Halt);
        let taken: Vec<_> = std::iter::from_fn(|| outbox.take(Duration::ZERO)).collect();
        let expected: Vec<_> = ["ab", "cd", "e"]
            .map(|text| Order::Input(text.into()))
            .into();
        assert_eq!(taken[..3], expected);
        assert_eq!(taken[3], Order::Halt);
    }

    #[test]
    fn input_to_a_stalled_instance_is_refused_at_the_bound() {
        let outbox = Outbox::default();
        assert!(outbox.put_input(&vec![0; Outbox::MAX_INPUT], 4096, Duration::ZERO));
        assert!(!outbox.put_input(b"x", 4096, Duration::ZERO));
        outbox.put(Order::Halt); // Orders still get through.
        assert!(outbox.take(Duration::ZERO).is_some());
        assert!(outbox.put_input(b"x", 4096, Duration::ZERO));
    }
}
