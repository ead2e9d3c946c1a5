//! The words of locks, read by loads alone, whatever they contain.
//!
//! Inspection does not take part in the protocols, so it needs no incarnation, and the memory may
//! be mapped read-only. Each call loads its words once, one after another, while others change
//! them: they need not belong to one moment.

use memoffset::offset_of;

use shmem_core::mem::{OutOfWindow, Word};
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::{Incarnation, Window};

use crate::health::{POISONED, WHOLE};
use crate::layout::{
    BakeryControl, BakeryEntry, BarrierControl, BarrierEntry, MutexControl, RwLockControl,
    SemaphoreControl, SemaphorePlace, BAKERY_PARTITIONS, PERMITS, PERMIT_FREE, READERS,
};
use crate::owner::incarnation_without_flag;
use crate::Shape;

/// The holder in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// No partition holds it.
    Nobody,
    /// This incarnation holds it.
    Incarnation(Incarnation),
    /// No honest partition leaves this word.
    Corrupt(u32),
}

impl Holder {
    /// Returns the holder in a word that has no flag.
    fn from_word(word: u32) -> Self {
        match incarnation_without_flag(word) {
            Some(incarnation) => Self::Incarnation(incarnation),
            None if word == 0 => Self::Nobody,
            _ => Self::Corrupt(word),
        }
    }

    /// Returns the holder in an entry that only incarnations of `partition` use.
    fn in_entry_of(self, partition: u8) -> Self {
        match self {
            Self::Incarnation(incarnation) if incarnation.partition() != partition => {
                Self::Corrupt(incarnation.word())
            }
            holder => holder,
        }
    }
}

/// The owner word of a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The incarnation that has the lock.
    pub holder: Holder,
    /// True if a partition may sleep until the lock is free.
    pub contended: bool,
}

impl Owner {
    fn from_word(word: u32) -> Self {
        let holder = match word {
            Incarnation::FLAG => Holder::Corrupt(word), // A free word has no flag.
            _ => match Holder::from_word(word & !Incarnation::FLAG) {
                Holder::Corrupt(_) => Holder::Corrupt(word),
                holder => holder,
            },
        };
        Self {
            holder,
            contended: word & Incarnation::FLAG != 0,
        }
    }

    /// Returns the owner in an entry that only incarnations of `partition` use.
    fn in_entry_of(self, partition: u8) -> Self {
        Self {
            holder: self.holder.in_entry_of(partition),
            ..self
        }
    }
}

/// Whether the bytes that a lock protects are whole; see [`crate::health`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// No owner died while it held the lock, or the next owner repaired the bytes.
    Whole,
    /// An owner died while it held the lock, and the bytes are not repaired yet.
    Suspect,
    /// The next owner unlocked without repairing the bytes that a dead owner left. Permanent.
    Poisoned,
    /// No honest partition leaves this word.
    Corrupt(u32),
}

impl Health {
    fn from_word(word: u32) -> Self {
        match word {
            WHOLE => Self::Whole,
            POISONED => Self::Poisoned,
            _ if incarnation_without_flag(word).is_some() => Self::Suspect,
            _ => Self::Corrupt(word),
        }
    }
}

/// The words of a [`crate::Mutex`].
#[derive(Clone, Copy)]
pub struct MutexWords<'m>(Window<'m>);

impl<'m> MutexWords<'m> {
    /// Returns the words of the mutex in `segment`.
    ///
    /// # Errors
    ///
    /// [`OutOfWindow`] if the segment is shorter than a control line.
    pub fn attach(segment: Window<'m>) -> Result<Self, OutOfWindow> {
        control::<MutexControl>(segment).map(Self)
    }

    /// Returns the owner.
    pub fn owner(&self) -> Owner {
        Owner::from_word(load(self.0.word(offset_of!(MutexControl, owner))))
    }

    /// Returns the state of the bytes.
    pub fn health(&self) -> Health {
        Health::from_word(load(self.0.word(offset_of!(MutexControl, health))))
    }

    /// Returns what it protects, if a partition has declared it.
    pub fn protects(&self) -> Option<Shape> {
        declared(self.0.word(offset_of!(MutexControl, protects)))
    }
}

/// The words of a [`crate::BakeryMutex`].
#[derive(Clone, Copy)]
pub struct BakeryWords<'m>(Window<'m>);

/// A partition's entry in a bakery mutex.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BakeryEntryWords {
    /// The partition whose entry it is.
    pub partition: u8,
    /// The incarnation of it that attached last.
    pub incarnation: Holder,
    /// Its ticket; `None` if it does not wait for the lock.
    pub ticket: Option<Ticket>,
}

/// A ticket of a bakery mutex.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// True if it is being drawn; then it has no number yet.
    pub is_being_drawn: bool,
    /// Its colour, 0 or 1.
    pub colour: u32,
    /// Its number.
    pub number: u32,
}

impl<'m> BakeryWords<'m> {
    /// Returns the words of the bakery mutex in `segment`.
    ///
    /// # Errors
    ///
    /// [`OutOfWindow`] if the segment is shorter than the control block.
    pub fn attach(segment: Window<'m>) -> Result<Self, OutOfWindow> {
        control::<BakeryControl>(segment).map(Self)
    }

    /// Returns the incarnation that holds the mutex, or died while it held it.
    pub fn holder(&self) -> Holder {
        match Holder::from_word(load(self.0.word(offset_of!(BakeryControl, holder)))) {
            Holder::Incarnation(incarnation)
                if usize::from(incarnation.partition()) > BAKERY_PARTITIONS =>
            {
                Holder::Corrupt(incarnation.word())
            }
            holder => holder,
        }
    }

    /// Returns the state of the bytes.
    pub fn health(&self) -> Health {
        Health::from_word(load(self.0.word(offset_of!(BakeryControl, health))))
    }

    /// Returns what it protects, as declared by the first partition that has declared it.
    pub fn protects(&self) -> Option<Shape> {
        let word = |index| self.0.word(offset_of!(BakeryControl, protects) + index * 4);
        (0..BAKERY_PARTITIONS).find_map(|index| declared(word(index)))
    }

    /// Returns the colour of the tickets that are drawn now. An honest partition stores only 0 and
    /// 1.
    pub fn colour(&self) -> u32 {
        load(self.0.word(offset_of!(BakeryControl, colour)))
    }

    /// Returns every partition's entry.
    pub fn entries(&self) -> impl Iterator<Item = BakeryEntryWords> + 'm {
        let control = self.0;
        (0..BAKERY_PARTITIONS).map(move |index| {
            let at =
                offset_of!(BakeryControl, entries) + index * core::mem::size_of::<BakeryEntry>();
            let partition = index as u8 + 1;
            let ticket = load(control.word(at + offset_of!(BakeryEntry, ticket)));
            let incarnation = load(control.word(at + offset_of!(BakeryEntry, incarnation)));
            BakeryEntryWords {
                partition,
                incarnation: Holder::from_word(incarnation).in_entry_of(partition),
                ticket: (ticket != 0).then_some(Ticket {
                    is_being_drawn: ticket & 1 != 0,
                    colour: ticket >> 1 & 1,
                    number: ticket >> 2,
                }),
            }
        })
    }
}

/// The length of a semaphore's place.
const PLACE: usize = core::mem::size_of::<SemaphorePlace>();

/// The words of a [`crate::Semaphore`].
#[derive(Clone, Copy)]
pub struct SemaphoreWords<'m>(Window<'m>);

/// The state of one permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permit {
    /// This place has no permit.
    None,
    /// No partition holds it.
    Free,
    /// This incarnation holds it.
    Held(Incarnation),
    /// No honest partition leaves this word.
    Corrupt(u32),
}

impl<'m> SemaphoreWords<'m> {
    /// Returns the words of the semaphore in `segment`.
    ///
    /// # Errors
    ///
    /// [`OutOfWindow`] if the segment has no room for a permit.
    pub fn attach(segment: Window<'m>) -> Result<Self, OutOfWindow> {
        segment.sub(0, core::mem::size_of::<SemaphoreControl>() + PLACE)?;
        Ok(Self(segment))
    }

    /// Returns every place for a permit, and whether a partition may sleep for that permit.
    pub fn permits(&self) -> impl Iterator<Item = (Permit, bool)> + 'm {
        let (segment, start) = (self.0, core::mem::size_of::<SemaphoreControl>());
        let capacity = ((segment.len() - start) / PLACE).min(PERMITS);
        (0..capacity).map(move |at| {
            let word = load(segment.word(start + at * PLACE + offset_of!(SemaphorePlace, permit)));
            let permit = match (word, Owner::from_word(word).holder) {
                (0 | Incarnation::FLAG, _) => Permit::None,
                (PERMIT_FREE, _) => Permit::Free,
                (_, Holder::Incarnation(incarnation)) => Permit::Held(incarnation),
                _ => Permit::Corrupt(word),
            };
            (permit, word & Incarnation::FLAG != 0)
        })
    }
}

/// The words of a [`crate::RwLock`].
#[derive(Clone, Copy)]
pub struct RwLockWords<'m>(Window<'m>);

impl<'m> RwLockWords<'m> {
    /// Returns the words of the reader-writer lock in `segment`.
    ///
    /// # Errors
    ///
    /// [`OutOfWindow`] if the segment is shorter than the control block.
    pub fn attach(segment: Window<'m>) -> Result<Self, OutOfWindow> {
        control::<RwLockControl>(segment).map(Self)
    }

    /// Returns the incarnation that writes, or waits for the readers to leave.
    pub fn writer(&self) -> Owner {
        Owner::from_word(load(self.0.word(offset_of!(RwLockControl, writer))))
    }

    /// Returns true if the writer holds the lock, and does not only wait for the readers to leave.
    pub fn is_writing(&self) -> bool {
        load(self.0.word(offset_of!(RwLockControl, writing))) != 0
    }

    /// Returns the state of the bytes.
    pub fn health(&self) -> Health {
        Health::from_word(load(self.0.word(offset_of!(RwLockControl, health))))
    }

    /// Returns what it protects, if a partition has declared it.
    pub fn protects(&self) -> Option<Shape> {
        declared(self.0.word(offset_of!(RwLockControl, protects)))
    }

    /// Returns the incarnations that read; free places are left out.
    pub fn readers(&self) -> impl Iterator<Item = Holder> + 'm {
        let control = self.0;
        let word = move |place| load(control.word(offset_of!(RwLockControl, readers) + place * 4));
        let holder = move |place| Holder::from_word(word(place));
        (0..READERS)
            .map(holder)
            .filter(|holder| *holder != Holder::Nobody)
    }
}

/// The words of a [`crate::Barrier`].
#[derive(Clone, Copy)]
pub struct BarrierWords<'m>(Window<'m>);

/// A partition at a barrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Party {
    /// The partition whose entry it is.
    pub partition: u8,
    /// The incarnation of it that arrived last, and whether that may sleep.
    pub incarnation: Owner,
    /// The last phase at which it arrived.
    pub arrived: u32,
}

impl<'m> BarrierWords<'m> {
    /// Returns the words of the barrier in `segment`.
    ///
    /// # Errors
    ///
    /// [`OutOfWindow`] if the segment has no room for an entry.
    pub fn attach(segment: Window<'m>) -> Result<Self, OutOfWindow> {
        let least = core::mem::size_of::<BarrierControl>() + core::mem::size_of::<BarrierEntry>();
        segment.sub(0, least)?;
        Ok(Self(segment))
    }

    /// Returns the last complete phase that a partition has stored.
    pub fn phase(&self) -> u32 {
        load(self.0.word(offset_of!(BarrierControl, phase)))
    }

    /// Returns every partition that has ever arrived.
    pub fn parties(&self) -> impl Iterator<Item = Party> + 'm {
        let (segment, start) = (self.0, core::mem::size_of::<BarrierControl>());
        let size = core::mem::size_of::<BarrierEntry>();
        let entries = ((segment.len() - start) / size).min(u8::MAX.into());
        let party = move |index: usize| {
            let field = |field| load(segment.word(start + index * size + field));
            let partition = index as u8 + 1;
            let word = field(offset_of!(BarrierEntry, incarnation));
            Party {
                partition,
                incarnation: Owner::from_word(word).in_entry_of(partition),
                arrived: field(offset_of!(BarrierEntry, arrived)),
            }
        };
        let has_arrived =
            |party: &Party| party.arrived != 0 || party.incarnation.holder != Holder::Nobody;
        (0..entries).map(party).filter(has_arrived)
    }
}

fn declared(protects: Word<'_>) -> Option<Shape> {
    Some(Shape::from_word(load(protects))).filter(|shape| *shape != Shape::UNDECLARED)
}

fn control<T>(segment: Window<'_>) -> Result<Window<'_>, OutOfWindow> {
    segment.sub(0, core::mem::size_of::<T>())
}

fn load(word: Word<'_>) -> u32 {
    // relaxed: for inspection; it may have changed since.
    word.load(Relaxed)
}
