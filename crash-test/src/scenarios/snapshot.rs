//! A snapshot whose writer dies.

use fastrand::Rng;
use shmem_core::Life;
use shmem_core::snapshot::{self, ReadError, Reader, Writer};
use shmem_registry::Kind;

use super::SMALL;
use super::record::{MIN, Tag};
use crate::deaths::Deaths;
use crate::scenario::{
    Actor, Cast, Layout, Outcome, Role, Scenario, Step, Violation, ensure, unexpected,
};
use crate::stage::{Cell, Stage};

const WRITER: usize = 0;
const READER: usize = 1;

const ROLES: &[Role] = &[
    Role {
        name: "writer",
        ops: &["write"],
        proof: 0,
        exclusive: true,
    },
    Role {
        name: "reader",
        ops: &["read"],
        proof: 0,
        exclusive: false,
    },
];

const CASTS: &[Cast] = &[
    Cast {
        victims: &[WRITER],
        survivors: &[READER],
    },
    Cast {
        victims: &[WRITER, READER],
        survivors: &[READER],
    },
];

/// The number of the latest value, whose writing has returned.
const ACKNOWLEDGED: usize = 0;
/// The number of the latest value that may be there.
const ATTEMPTED: usize = 1;

pub(super) struct SnapshotScenario;

/// The two numbers.
#[derive(Clone, Copy)]
struct Account<'m> {
    acknowledged: Cell<'m>,
    attempted: Cell<'m>,
}

impl<'m> Account<'m> {
    fn of(stage: &Stage<'m>) -> Self {
        Self {
            acknowledged: stage.ledger.account(ACKNOWLEDGED),
            attempted: stage.ledger.account(ATTEMPTED),
        }
    }
}

struct Scribe<'m> {
    writer: Writer<'m>,
    account: Account<'m>,
}

impl Actor for Scribe<'_> {
    fn act(&mut self, _: usize, rng: &mut Rng) -> Outcome<Step> {
        let number = self.account.attempted.get() + 1;
        let tag = Tag {
            life: 1,
            number,
            reader: 0,
        };
        let value = tag.record(rng.usize(MIN..=self.writer.max()));
        self.account.attempted.set(number);
        self.writer.write(&value).map_err(unexpected("writing"))?;
        self.account.acknowledged.set(number);
        Ok(Step::Done)
    }
}

struct Onlooker<'m> {
    reader: Reader<'m>,
    account: Account<'m>,
    last: u32,
}

impl Actor for Onlooker<'_> {
    fn act(&mut self, _: usize, _: &mut Rng) -> Outcome<Step> {
        let least = self.account.acknowledged.get().max(self.last);
        let mut value = [0; 1024];
        let len = match self.reader.read(&mut value) {
            Ok(len) => len,
            Err(ReadError::Busy) => return Ok(Step::Idle),
            Err(ReadError::Empty) => {
                return ensure(least == 0, || {
                    format!("value {least} is there, and a read gave none")
                })
                .map(|()| Step::Idle);
            }
            Err(error) => return Err(unexpected("reading")(error)),
        };
        let most = self.account.attempted.get();
        let tag = Tag::of(&value[..len]);
        let tag =
            tag.ok_or_else(|| Violation::new(format!("no whole value: {:02x?}", &value[..len])))?;
        ensure((least..=most).contains(&tag.number), || {
            format!("read value {}, not one of {least} to {most}", tag.number)
        })?;
        self.last = tag.number;
        Ok(Step::Done)
    }
}

impl Scenario for SnapshotScenario {
    fn name(&self) -> &'static str {
        "snapshot"
    }

    fn about(&self) -> &'static str {
        "the writer of a snapshot dies; readers get a whole value, old or new"
    }

    fn roles(&self) -> &'static [Role] {
        ROLES
    }

    fn casts(&self) -> &'static [Cast] {
        CASTS
    }

    fn shapes(&self) -> &'static [u32] {
        &[16, 600]
    }

    fn layout(&self, shape: u32) -> Layout {
        Layout {
            geometry: SMALL,
            space: 0,
            object: Some((Kind::SNAPSHOT, snapshot::segment_len(shape as usize))),
            account: 8,
        }
    }

    fn starts(&self, _: u32) -> u32 {
        4
    }

    fn prepare<'m>(&self, stage: &Stage<'m>, start: u32, deaths: &Deaths<'m>) -> Outcome {
        let mut rng = Rng::with_seed(start.into());
        for life in 0..start {
            let life = Life::first(5 + life as u8);
            let mut writer = self.join(stage, WRITER, life, deaths.share())?;
            writer.act(0, &mut rng)?;
        }
        Ok(())
    }

    fn join<'m>(
        &self,
        stage: &Stage<'m>,
        role: usize,
        _: Life,
        _: Deaths<'m>,
    ) -> Outcome<Box<dyn Actor + 'm>> {
        let account = Account::of(stage);
        if role == WRITER {
            let writer = Writer::attach(stage.object).map_err(unexpected("attaching"))?;
            return Ok(Box::new(Scribe { writer, account }));
        }
        let reader = Reader::attach(stage.object).map_err(unexpected("attaching"))?;
        Ok(Box::new(Onlooker {
            reader,
            account,
            last: 0,
        }))
    }

    fn audit<'m>(
        &self,
        _: &Stage<'m>,
        _: &Deaths<'m>,
        actors: &mut [&mut (dyn Actor + 'm)],
        _: bool,
    ) -> Outcome {
        let mut rng = Rng::with_seed(0);
        for actor in actors {
            let step = actor.act(0, &mut rng)?;
            ensure(step == Step::Done, || {
                "it does not work any more".to_owned()
            })?;
        }
        Ok(())
    }
}
