//! Locks as a third party sees them: by loads alone, whatever is in them.
//!
//! Nothing here takes part, so no incarnation is needed and the memory may be mapped
//! read-only. Each call loads its words once, one after another while others
//! change them: they need not be of one moment.

use memoffset::offset_of;

use shmem_core::mem::{OutOfWindow, Word};
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::{Incarnation, Window};

use crate::health::{POISONED, WHOLE};
use crate::layout::{
    BakeryControl, BakeryEntry, BarrierControl, BarrierEntry, MutexControl, RwLockControl,
    SemaphoreControl, SemaphorePlace, BAKERY_PARTITIONS, PERMITS, PERMIT_FREE, READERS,
};
use crate::owner::plain;
use crate::Shape;

/// Whose something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Nobody's.
    Nobody,
    /// This incarnation's.
    Incarnation(Incarnation),
    /// No honest partition leaves this word.
    Corrupt(u32),
}

impl Holder {
    /// Of a word that has no flag.
    fn plain(word: u32) -> Self {
        match plain(word) {
            Some(incarnation) => Self::Incarnation(incarnation),
            None if word == 0 => Self::Nobody,
            _ => Self::Corrupt(word),
        }
    }

    /// The same of an entry that only incarnations of `partition` use.
    fn among(self, partition: u8) -> Self {
        match self {
            Self::Incarnation(incarnation) if incarnation.partition() != partition => {
                Self::Corrupt(incarnation.word())
            }
            holder => holder,
        }
    }
}

/// A word that says whose a lock is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Whose.
    pub holder: Holder,
    /// Whether somebody may sleep for it.
    pub contended: bool,
}

impl Owner {
    fn of(word: u32) -> Self {
        let holder = match word {
            Incarnation::FLAG => Holder::Corrupt(word), // Nobody's needs no flag.
            _ => match Holder::plain(word & !Incarnation::FLAG) {
                Holder::Corrupt(_) => Holder::Corrupt(word),
                holder => holder,
            },
        };
        Self {
            holder,
            contended: word & Incarnation::FLAG != 0,
        }
    }

    /// The same of an entry that only incarnations of `partition` use.
    fn among(self, partition: u8) -> Self {
        Self {
            holder: self.holder.among(partition),
            ..self
        }
    }
}

/// State of the bytes that a lock protects; see [`crate::health`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// No owner died inside, or what it left was repaired.
    Whole,
    /// An owner died inside.
    Suspect,
    /// Nobody repaired what a dead owner left; for good.
    Poisoned,
    /// No honest partition leaves this word.
    Corrupt(u32),
}

impl Health {
    fn of(word: u32) -> Self {
        match word {
            WHOLE => Self::Whole,
            POISONED => Self::Poisoned,
            _ if plain(word).is_some() => Self::Suspect,
            _ => Self::Corrupt(word),
        }
    }
}

/// The words of a [`crate::Mutex`].
#[derive(Clone, Copy)]
pub struct MutexWords<'m>(Window<'m>);

impl<'m> MutexWords<'m> {
    /// Of the mutex in `segment`.
    ///
    /// # Errors
    ///
    /// [`OutOfWindow`] if the segment is shorter than a control line.
    pub fn attach(segment: Window<'m>) -> Result<Self, OutOfWindow> {
        control::<MutexControl>(segment).map(Self)
    }

    /// Whose it is.
    pub fn owner(&self) -> Owner {
        Owner::of(load(self.0.word(offset_of!(MutexControl, owner))))
    }

    /// State of the bytes.
    pub fn health(&self) -> Health {
        Health::of(load(self.0.word(offset_of!(MutexControl, health))))
    }

    /// What it protects, if a partition has declared it.
    pub fn protects(&self) -> Option<Shape> {
        declared(self.0.word(offset_of!(MutexControl, protects)))
    }
}

/// The words of a [`crate::BakeryMutex`].
#[derive(Clone, Copy)]
pub struct BakeryWords<'m>(Window<'m>);

/// A partition's place in a bakery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BakeryPlace {
    /// Whose place it is.
    pub partition: u8,
    /// Its incarnation that attached last.
    pub incarnation: Holder,
    /// What it has drawn; `None` if it waits for nothing.
    pub ticket: Option<Ticket>,
}

/// A ticket of a bakery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Whether it is being drawn; then it has no number yet.
    pub is_being_drawn: bool,
    /// Its colour, 0 or 1.
    pub colour: u32,
    /// Its number.
    pub number: u32,
}

impl<'m> BakeryWords<'m> {
    /// Of the bakery mutex in `segment`.
    ///
    /// # Errors
    ///
    /// [`OutOfWindow`] if the segment is shorter than the control block.
    pub fn attach(segment: Window<'m>) -> Result<Self, OutOfWindow> {
        control::<BakeryControl>(segment).map(Self)
    }

    /// Who is inside, or died there.
    pub fn holder(&self) -> Holder {
        match Holder::plain(load(self.0.word(offset_of!(BakeryControl, holder)))) {
            Holder::Incarnation(incarnation)
                if usize::from(incarnation.partition()) > BAKERY_PARTITIONS =>
            {
                Holder::Corrupt(incarnation.word())
            }
            holder => holder,
        }
    }

    /// State of the bytes.
    pub fn health(&self) -> Health {
        Health::of(load(self.0.word(offset_of!(BakeryControl, health))))
    }

    /// What it protects, as the first partition says that has declared it.
    pub fn protects(&self) -> Option<Shape> {
        let word = |index| self.0.word(offset_of!(BakeryControl, protects) + index * 4);
        (0..BAKERY_PARTITIONS).find_map(|index| declared(word(index)))
    }

    /// Colour of the tickets that are drawn now; more than 0 and 1 is not honest.
    pub fn colour(&self) -> u32 {
        load(self.0.word(offset_of!(BakeryControl, colour)))
    }

    /// Every partition's place.
    pub fn places(&self) -> impl Iterator<Item = BakeryPlace> + 'm {
        let control = self.0;
        (0..BAKERY_PARTITIONS).map(move |index| {
            let at =
                offset_of!(BakeryControl, entries) + index * core::mem::size_of::<BakeryEntry>();
            let partition = index as u8 + 1;
            let ticket = load(control.word(at + offset_of!(BakeryEntry, ticket)));
            let incarnation = load(control.word(at + offset_of!(BakeryEntry, incarnation)));
            BakeryPlace {
                partition,
                incarnation: Holder::plain(incarnation).among(partition),
                ticket: (ticket != 0).then_some(Ticket {
                    is_being_drawn: ticket & 1 != 0,
                    colour: ticket >> 1 & 1,
                    number: ticket >> 2,
                }),
            }
        })
    }
}

/// Bytes of a semaphore's place.
const PLACE: usize = core::mem::size_of::<SemaphorePlace>();

/// The words of a [`crate::Semaphore`].
#[derive(Clone, Copy)]
pub struct SemaphoreWords<'m>(Window<'m>);

/// What a semaphore's word says of one permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permit {
    /// There is none in this place.
    None,
    /// Nobody holds it.
    Free,
    /// This incarnation holds it.
    Held(Incarnation),
    /// No honest partition leaves this word.
    Corrupt(u32),
}

impl<'m> SemaphoreWords<'m> {
    /// Of the semaphore in `segment`.
    ///
    /// # Errors
    ///
    /// [`OutOfWindow`] if the segment has no room for a permit.
    pub fn attach(segment: Window<'m>) -> Result<Self, OutOfWindow> {
        segment.sub(0, core::mem::size_of::<SemaphoreControl>() + PLACE)?;
        Ok(Self(segment))
    }

    /// Every place for a permit, and whether somebody may sleep for that permit.
    pub fn permits(&self) -> impl Iterator<Item = (Permit, bool)> + 'm {
        let (segment, start) = (self.0, core::mem::size_of::<SemaphoreControl>());
        let capacity = ((segment.len() - start) / PLACE).min(PERMITS);
        (0..capacity).map(move |at| {
            let word = load(segment.word(start + at * PLACE + offset_of!(SemaphorePlace, permit)));
            let permit = match (word, Owner::of(word).holder) {
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
    /// Of the reader-writer lock in `segment`.
    ///
    /// # Errors
    ///
    /// [`OutOfWindow`] if the segment is shorter than the control block.
    pub fn attach(segment: Window<'m>) -> Result<Self, OutOfWindow> {
        control::<RwLockControl>(segment).map(Self)
    }

    /// Who writes, or waits for the readers to leave.
    pub fn writer(&self) -> Owner {
        Owner::of(load(self.0.word(offset_of!(RwLockControl, writer))))
    }

    /// Whether the writer is inside.
    pub fn is_writing(&self) -> bool {
        load(self.0.word(offset_of!(RwLockControl, writing))) != 0
    }

    /// State of the bytes.
    pub fn health(&self) -> Health {
        Health::of(load(self.0.word(offset_of!(RwLockControl, health))))
    }

    /// What it protects, if a partition has declared it.
    pub fn protects(&self) -> Option<Shape> {
        declared(self.0.word(offset_of!(RwLockControl, protects)))
    }

    /// Who reads; a place that nobody has is left out.
    pub fn readers(&self) -> impl Iterator<Item = Holder> + 'm {
        let control = self.0;
        let word = move |place| load(control.word(offset_of!(RwLockControl, readers) + place * 4));
        let holder = move |place| Holder::plain(word(place));
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
    /// Whose entry it is.
    pub partition: u8,
    /// Its incarnation that arrived last, and whether it may sleep.
    pub incarnation: Owner,
    /// The last phase it arrived at.
    pub arrived: u32,
}

impl<'m> BarrierWords<'m> {
    /// Of the barrier in `segment`.
    ///
    /// # Errors
    ///
    /// [`OutOfWindow`] if the segment has no room for an entry.
    pub fn attach(segment: Window<'m>) -> Result<Self, OutOfWindow> {
        let least = core::mem::size_of::<BarrierControl>() + core::mem::size_of::<BarrierEntry>();
        segment.sub(0, least)?;
        Ok(Self(segment))
    }

    /// The last phase that was complete, as far as somebody stored it.
    pub fn phase(&self) -> u32 {
        load(self.0.word(offset_of!(BarrierControl, phase)))
    }

    /// Every partition that has ever arrived.
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
                incarnation: Owner::of(word).among(partition),
                arrived: field(offset_of!(BarrierEntry, arrived)),
            }
        };
        let has_come =
            |party: &Party| party.arrived != 0 || party.incarnation.holder != Holder::Nobody;
        (0..entries).map(party).filter(has_come)
    }
}

fn declared(protects: Word<'_>) -> Option<Shape> {
    Some(Shape::from_word(load(protects))).filter(|shape| *shape != Shape::UNSAID)
}

fn control<T>(segment: Window<'_>) -> Result<Window<'_>, OutOfWindow> {
    segment.sub(0, core::mem::size_of::<T>())
}

fn load(word: Word<'_>) -> u32 {
    // relaxed: for inspection; it may have changed since.
    word.load(Relaxed)
}
