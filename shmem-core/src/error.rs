//! The error for a peer that broke the protocol.

use core::fmt;

/// A word that can hold a value which no honest peer writes.
///
/// The variants cover all words of `docs/layout.md`, including those that other crates read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[repr(u32)]
pub enum ControlWord {
    /// The position up to which a ring's producer may reuse bytes.
    Head,
    /// The position after a record that a ring's producer has published.
    Tail,
    /// The incarnation that has an end of a ring.
    Claim,
    /// The epoch of a ring's producing end.
    ProducerEpoch,
    /// The epoch of a ring's consuming end.
    ConsumerEpoch,
    /// The word before a record's payload.
    RecordHeader,
    /// The length of a snapshot's value.
    SnapshotSlotLength,
    /// The numbers of rows, partitions and blocks of a registry.
    RegistryGeometry,
    /// The link from one row of a registry to the next.
    Link,
    /// The identifier in a registry's row. [`Corrupt::value`] is then the row's number.
    RowIdentifier,
    /// The length in a registry's row.
    RowLength,
    /// The first block in a registry's row.
    FirstBlock,
    /// The incarnation in a partition's slot.
    PartitionIncarnation,
    /// The incarnation that has a mutex.
    MutexOwner,
    /// Whether the data that a mutex protects is whole.
    MutexHealth,
    /// The incarnation that has a bakery mutex.
    BakeryHolder,
    /// Whether the data that a bakery mutex protects is whole.
    BakeryHealth,
    /// The incarnation that has a place in the queue of a bakery mutex.
    BakeryIncarnation,
    /// The incarnation that has a permit of a semaphore.
    Permit,
    /// The incarnation that has a reader-writer lock for writing.
    RwlockWriter,
    /// The incarnation that has a reader-writer lock for reading.
    RwlockReader,
    /// Whether the data that a reader-writer lock protects is whole.
    RwlockHealth,
    /// The incarnation of a party of a barrier.
    BarrierIncarnation,
    /// The phase at which a party of a barrier has arrived.
    BarrierArrived,
    /// The incarnation that is adding a permit to a semaphore.
    PermitAdder,
    /// The ticket of a partition in the queue of a bakery mutex.
    BakeryTicket,
    /// The current colour of new tickets of a bakery mutex.
    BakeryColour,
    /// The position of the first record that a ring's consumer has not released.
    Position,
    /// The length of a command or an answer in a call line.
    CallLength,
    /// The position of the first record of a typed ring's producer.
    ProducerStart,
    /// The position at which a typed ring's consumer began.
    ConsumerStart,
    /// Bytes of one record of a typed ring.
    RecordSize,
}

impl ControlWord {
    /// All words, in the order of their numbers.
    pub const ALL: [Self; 32] = [
        Self::Head,
        Self::Tail,
        Self::Claim,
        Self::ProducerEpoch,
        Self::ConsumerEpoch,
        Self::RecordHeader,
        Self::SnapshotSlotLength,
        Self::RegistryGeometry,
        Self::Link,
        Self::RowIdentifier,
        Self::RowLength,
        Self::FirstBlock,
        Self::PartitionIncarnation,
        Self::MutexOwner,
        Self::MutexHealth,
        Self::BakeryHolder,
        Self::BakeryHealth,
        Self::BakeryIncarnation,
        Self::Permit,
        Self::RwlockWriter,
        Self::RwlockReader,
        Self::RwlockHealth,
        Self::BarrierIncarnation,
        Self::BarrierArrived,
        Self::PermitAdder,
        Self::BakeryTicket,
        Self::BakeryColour,
        Self::Position,
        Self::CallLength,
        Self::ProducerStart,
        Self::ConsumerStart,
        Self::RecordSize,
    ];

    /// Returns the word's name in `docs/layout.md`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Tail => "tail",
            Self::Claim => "claim",
            Self::ProducerEpoch => "producer epoch",
            Self::ConsumerEpoch => "consumer epoch",
            Self::RecordHeader => "record header",
            Self::SnapshotSlotLength => "snapshot slot length",
            Self::RegistryGeometry => "registry geometry",
            Self::Link => "link",
            Self::RowIdentifier => "row identifier",
            Self::RowLength => "row length",
            Self::FirstBlock => "first block",
            Self::PartitionIncarnation => "partition incarnation",
            Self::MutexOwner => "mutex owner",
            Self::MutexHealth => "mutex health",
            Self::BakeryHolder => "bakery holder",
            Self::BakeryHealth => "bakery health",
            Self::BakeryIncarnation => "bakery incarnation",
            Self::Permit => "permit",
            Self::RwlockWriter => "rwlock writer",
            Self::RwlockReader => "rwlock reader",
            Self::RwlockHealth => "rwlock health",
            Self::BarrierIncarnation => "barrier incarnation",
            Self::BarrierArrived => "barrier arrived",
            Self::PermitAdder => "permit adder",
            Self::BakeryTicket => "bakery ticket",
            Self::BakeryColour => "bakery colour",
            Self::Position => "position",
            Self::CallLength => "call length",
            Self::ProducerStart => "producer start",
            Self::ConsumerStart => "consumer start",
            Self::RecordSize => "record size",
        }
    }
}

impl fmt::Display for ControlWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A peer wrote a value that no honest peer writes.
///
/// An end of a ring that has returned this error returns it from every later call. A snapshot and
/// the registry return it from each call that reads such a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt {
    /// The word.
    pub word: ControlWord,
    /// Its value.
    pub value: u32,
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the peer broke the protocol: {} holds {:#010x}",
            self.word, self.value
        )
    }
}

#[cfg(feature = "std")]
impl std::error::Error for Corrupt {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_document_lists_all_words_in_order() {
        let document = include_str!("../../docs/layout.md");
        let table = document.split("## Words as errors name them").nth(1);
        let rows = table.unwrap().lines();
        let mut names = rows.filter_map(|row| row.strip_prefix("| `")?.split('`').next());
        for (number, word) in ControlWord::ALL.into_iter().enumerate() {
            assert_eq!(word as usize, number);
            assert_eq!(names.next(), Some(word.name()));
        }
        assert_eq!(names.next(), None);
    }
}
