//! A ring whose ends die.

mod book;
mod consumer;
mod producer;

use std::mem::offset_of;

use fastrand::Rng;
use shmem_core::Life;
use shmem_core::layout::RingControl;
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::ring::{Ring, Unread};
use shmem_registry::Kind;

use super::SMALL;
use crate::deaths::Deaths;
use crate::scenario::{Actor, Cast, Layout, Outcome, Role, Scenario, Step, ensure, unexpected};
use crate::stage::Stage;
use book::Book;
use consumer::Eater;
use producer::Feeder;

/// Lives of producers that the account knows at a time.
const LIVES: usize = 192;

const PRODUCER: usize = 0;
const CONSUMER: usize = 1;

const ROLES: &[Role] = &[
    Role {
        name: "producer",
        ops: producer::OPS,
        proof: 0,
        exclusive: true,
    },
    Role {
        name: "consumer",
        ops: consumer::OPS,
        proof: 0,
        exclusive: true,
    },
];

const CASTS: &[Cast] = &[
    Cast {
        victims: &[PRODUCER],
        survivors: &[CONSUMER],
    },
    Cast {
        victims: &[CONSUMER],
        survivors: &[PRODUCER],
    },
    Cast {
        victims: &[PRODUCER, CONSUMER],
        survivors: &[],
    },
];

/// The words that count the lives of both ends.
const EPOCHS: [usize; 2] = [
    offset_of!(RingControl, producer_epoch),
    offset_of!(RingControl, consumer_epoch),
];

/// A ring, with what becomes of unread records.
pub(super) struct RingScenario {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) unread: Unread,
}

impl RingScenario {
    fn feeder<'m>(&self, stage: &Stage<'m>, life: Life, deaths: Deaths<'m>) -> Outcome<Feeder<'m>> {
        let ring = Ring::attach(stage.object).map_err(unexpected("attaching to the ring"))?;
        Feeder::join(ring, Book(stage.ledger), life, deaths)
    }

    fn eater<'m>(&self, stage: &Stage<'m>, life: Life, deaths: Deaths<'m>) -> Outcome<Eater<'m>> {
        let ring = Ring::attach(stage.object).map_err(unexpected("attaching to the ring"))?;
        Eater::join(ring, Book(stage.ledger), self.unread, life, deaths)
    }

    /// All acknowledged records came.
    fn is_complete(&self, book: Book<'_>) -> Outcome {
        let (released, last) = (book.released(), book.producers().get());
        ensure(book.unread(released, last) == Some(0), || {
            let produced = book.produced(released.life);
            format!(
                "the ring is empty, and {:?} acknowledged records did not come: released \
                 {released:?} of {produced:?}, the last life is {last}",
                book.unread(released, last)
            )
        })?;
        let (lost, doubted) = (book.lost(last), book.doubted().get());
        ensure(lost <= doubted, || {
            format!("{lost} acknowledged records were never handed out, of {doubted} in doubt")
        })
    }

    /// What was popped and what was discarded is what was pushed.
    fn is_balanced(&self, stage: &Stage<'_>, book: Book<'_>) -> Outcome {
        let word = stage.object.word(offset_of!(RingControl, discarded));
        let (popped, discarded) = (book.popped().get(), word.load(Relaxed));
        let lives = 1..=book.producers().get();
        let (mut least, mut most) = (0, 0);
        for produced in lives.filter_map(|life| book.produced(life)) {
            least += produced.acknowledged;
            most += produced.attempted;
        }
        // A consumer that dies between a record and its count counts it never, or twice.
        let doubt = book.consumers().get() - 1;
        let taken = popped + discarded;
        ensure(taken + doubt >= least && taken <= most + doubt, || {
            format!(
                "{popped} popped and {discarded} discarded are not the {least} to {most} pushed, \
                 with {doubt} deaths of consumers"
            )
        })
    }
}

impl Scenario for RingScenario {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn roles(&self) -> &'static [Role] {
        ROLES
    }

    fn casts(&self) -> &'static [Cast] {
        CASTS
    }

    fn shapes(&self) -> &'static [u32] {
        &[64, 128, 256, 4096]
    }

    fn layout(&self, shape: u32) -> Layout {
        let len = Ring::segment_len(shape as usize);
        Layout {
            geometry: SMALL,
            space: 0,
            object: Some((Kind::RING, len)),
            account: book::account_len(LIVES),
        }
    }

    fn starts(&self, shape: u32) -> u32 {
        match shape {
            64 => 32,
            128 | 256 => 16,
            _ => 1,
        }
    }

    /// Every place in the smallest ring, with and without unread records.
    fn prepare<'m>(&self, stage: &Stage<'m>, start: u32, deaths: &Deaths<'m>) -> Outcome {
        let (turns, unread) = (start % 8, start / 8);
        if start == 0 {
            return Ok(()); // Never used.
        }
        let mut rng = Rng::with_seed(start.into());
        if start % 3 == 2 {
            // Soon they count from 1 again.
            for offset in EPOCHS {
                stage.object.word(offset).store(0xfffe, Relaxed);
            }
        }
        let mut feeder = self.feeder(stage, Life::first(6), deaths.share())?;
        let mut eater = self.eater(stage, Life::first(7), deaths.share())?;
        for _ in 0..turns {
            feeder.act(0, &mut rng)?;
            eater.act(0, &mut rng)?;
        }
        for _ in 0..unread {
            feeder.act(0, &mut rng)?;
        }
        Ok(())
    }

    fn join<'m>(
        &self,
        stage: &Stage<'m>,
        role: usize,
        life: Life,
        deaths: Deaths<'m>,
    ) -> Outcome<Box<dyn Actor + 'm>> {
        match role {
            PRODUCER => Ok(Box::new(self.feeder(stage, life, deaths)?)),
            _ => Ok(Box::new(self.eater(stage, life, deaths)?)),
        }
    }

    fn claims(&self, _: usize, _: usize) -> bool {
        true
    }

    /// An empty ring: a late step may garble what is unread.
    fn before_return(&self, role: usize) -> Vec<usize> {
        match role {
            CONSUMER => vec![0; 40],
            _ => Vec::new(),
        }
    }

    fn audits(&self) -> bool {
        false
    }

    fn audit<'m>(
        &self,
        stage: &Stage<'m>,
        _: &Deaths<'m>,
        actors: &mut [&mut (dyn Actor + 'm)],
        _: bool,
    ) -> Outcome {
        let [feeder, eater] = actors else {
            return Ok(());
        };
        let mut rng = Rng::with_seed(0);
        let mut idle = 0;
        // A restart is told by a look that finds nothing; so is what is discarded.
        while idle < 3 {
            idle += 1;
            while eater.act(0, &mut rng)? == Step::Done {
                idle = 0;
            }
        }
        let mut passed = false;
        for _ in 0..4 {
            feeder.act(0, &mut rng)?;
            passed |= eater.act(0, &mut rng)? == Step::Done;
        }
        while eater.act(0, &mut rng)? == Step::Done {}
        ensure(passed, || "no record passes any more".to_owned())?;
        let book = Book(stage.ledger);
        match self.unread {
            Unread::Keep => self.is_complete(book),
            Unread::Discard => self.is_balanced(stage, book),
        }
    }
}
