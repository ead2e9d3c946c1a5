//! What it means that a peer broke the protocol.

use core::fmt;

/// A word that peers write, of those which have values that no honest peer writes.
///
/// All of `docs/layout.md`'s, whichever crate reads them: an error that carries its
/// word as a number fits two registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[repr(u32)]
pub enum ControlWord {
    /// A ring's consumer position.
    Head,
    /// A ring's producer position.
    Tail,
    /// Who has an end of a ring.
    Claim,
    /// How many incarnations had a ring's producing end.
    ProducerEpoch,
    /// How many incarnations had a ring's consuming end.
    ConsumerEpoch,
    /// The word in front of a record.
    RecordHeader,
    /// How long a snapshot's value is.
    SnapshotSlotLength,
    /// How many rows, partitions and blocks a registry has.
    RegistryGeometry,
    /// The link from one row of a registry to the next.
    Link,
    /// The identifier in a registry's row; the value is the row's number.
    RowIdentifier,
    /// The length in a registry's row.
    RowLength,
    /// The first block in a registry's row.
    FirstBlock,
    /// The incarnation in a partition's slot.
    PartitionIncarnation,
    /// Who has a mutex.
    MutexOwner,
    /// Whether what a mutex protects is whole.
    MutexHealth,
    /// Who has a bakery mutex.
    BakeryHolder,
    /// Whether what a bakery mutex protects is whole.
    BakeryHealth,
    /// Whose place it is in the queue of a bakery mutex.
    BakeryIncarnation,
    /// Who has a permit of a semaphore.
    Permit,
    /// Who writes under a reader-writer lock.
    RwlockWriter,
    /// Who reads under a reader-writer lock.
    RwlockReader,
    /// Whether what a reader-writer lock protects is whole.
    RwlockHealth,
    /// A party of a barrier.
    BarrierIncarnation,
    /// The phase at which a party of a barrier has arrived.
    BarrierArrived,
    /// Who is about to add a permit to a semaphore.
    PermitAdder,
    /// A partition's place in the queue of a bakery mutex.
    BakeryTicket,
    /// The colour of the tickets of a bakery mutex that are drawn now.
    BakeryColour,
    /// Up to which record a ring's consumer has read.
    Position,
    /// How long a command or an answer in a call line is.
    CallLength,
    /// From where on the records of a typed ring's producer are its own.
    ProducerStart,
    /// Where a typed ring's consumer began.
    ConsumerStart,
    /// Bytes of a typed ring's records.
    RecordSize,
}

impl ControlWord {
    /// All of them, in the order of their numbers.
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

    /// Its name in `docs/layout.md`.
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
/// A ring's end that found it says the same from then on; a snapshot and the
/// registry say it of each call that meets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt {
    /// The word.
    pub word: ControlWord,
    /// What it held.
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
    fn the_layout_document_says_which_word_each_name_is() {
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
