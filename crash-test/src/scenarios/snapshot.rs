//! A snapshot whose writer dies: readers get a complete value, no older than the last one that
//! was acknowledged.

use fastrand::Rng;
use shmem_core::snapshot::{self, ReadError, Reader, Writer};
use shmem_registry::Kind;

use super::tag::{MIN, Tag};
use crate::kit::{
    Cast, Count, Incarnation, Layout, OrViolation, Outcome, Party, Role, Scenario, Scene, Seat,
    Step, Violation, boxed, ensure, unexpected,
};

const WRITER: usize = 0;
const READER: usize = 1;

pub(crate) const SNAPSHOT: Scenario = Scenario {
    name: "snapshot",
    about: "the writer of a snapshot dies; readers get a complete value, old or new",
    roles: &[
        Role::exclusive("writer", &["write"], |seat| boxed(ValueWriter::join(seat))),
        Role::shared("reader", &["read"], |seat| boxed(ValueReader::join(seat))),
    ],
    casts: &[
        Cast::new(&[WRITER], &[READER]),
        Cast::new(&[WRITER, READER], &[READER]),
    ],
    shapes: &[16, 600],
    layout: |shape| {
        let len = snapshot::segment_len(shape as usize);
        Layout::with_object(Kind::SNAPSHOT, len, 8)
    },
    starts: |_| 4,
    prepare,
    ..Scenario::BASE
};

/// Writes `start` values.
fn prepare(scene: &Scene<'_>, start: u32) -> Outcome {
    let mut rng = Rng::with_seed(start.into());
    for at in 0..start {
        let mut writer = scene.join(WRITER, Incarnation::first(5 + at as u8))?;
        writer.perform(0, &mut rng)?;
    }
    Ok(())
}

struct ValueWriter<'m> {
    writer: Writer<'m>,
    /// The number of the last value.
    written: Count<'m>,
}

impl<'m> ValueWriter<'m> {
    fn join(seat: Seat<'m>) -> Outcome<Self> {
        Ok(Self {
            writer: Writer::attach(seat.memory.object).or_violation("attaching")?,
            written: seat.memory.ledger.count(0),
        })
    }
}

impl Party for ValueWriter<'_> {
    fn perform(&mut self, _: usize, rng: &mut Rng) -> Outcome<Step> {
        let number = self.written.attempted.get() + 1;
        let tag = Tag {
            incarnation: 1,
            number,
            reader: 0,
        };
        let value = tag.record(rng.usize(MIN..=self.writer.max_len()));
        self.written.attempted.set(number);
        self.writer.write(&value).or_violation("writing")?;
        self.written.acknowledged.set(number);
        Ok(Step::Done)
    }
}

struct ValueReader<'m> {
    reader: Reader<'m>,
    written: Count<'m>,
    last: u32,
}

impl<'m> ValueReader<'m> {
    fn join(seat: Seat<'m>) -> Outcome<Self> {
        Ok(Self {
            reader: Reader::attach(seat.memory.object).or_violation("attaching")?,
            written: seat.memory.ledger.count(0),
            last: 0,
        })
    }
}

impl Party for ValueReader<'_> {
    fn perform(&mut self, _: usize, _: &mut Rng) -> Outcome<Step> {
        let least = self.written.acknowledged.get().max(self.last);
        let mut value = [0; 1024];
        let len = match self.reader.read(&mut value) {
            Ok(len) => len,
            Err(ReadError::Busy) => return Ok(Step::Idle),
            Err(ReadError::Empty) => {
                ensure(least == 0, || {
                    format!("value {least} exists, and was not read")
                })?;
                return Ok(Step::Idle);
            }
            Err(error) => return Err(unexpected("reading", error)),
        };
        let most = self.written.attempted.get();
        let torn = || Violation::new(format!("incomplete value: {:02x?}", &value[..len]));
        let tag = Tag::read(&value[..len]).ok_or_else(torn)?;
        ensure((least..=most).contains(&tag.number), || {
            format!("read value {}, not one of {least} to {most}", tag.number)
        })?;
        self.last = tag.number;
        Ok(Step::Done)
    }
}
