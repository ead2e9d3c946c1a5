//! The party in Rust: like `tests/c/party.c`, but by the crates below the C interface.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::exit;
use std::time::Duration;

use fastrand::Rng;
use rustix::process::{set_parent_process_death_signal, Signal};
use shmem_core::primitive::Ordering::Relaxed;
use shmem_core::ring::{Consumer, OnRestart, PopError, Producer, PushError, Ring};
use shmem_core::{Mapping, Region};
use shmem_registry::{Attachment, Id, Process, Processes, Registry, Segment};
use shmem_sync::{Futex, FutexBell, SleepPoll};

use super::{
    BATCH, CONSUMER_RESTARTED, DRAINED, INTENT, LONGEST, PEEKED, POPPED, PRODUCER_RESTARTED, SENT,
    START,
};

/// Produces and consumes until the conversation ends or the process is killed.
pub(crate) fn party(mut words: impl Iterator<Item = String>) {
    let mut word = || PathBuf::from(words.next().expect("region, logs, number"));
    let (region, logs) = (word(), word());
    set_parent_process_death_signal(Some(Signal::KILL))
        .expect("Linux supports a parent death signal");
    let mapping: &'static Mapping = Box::leak(Box::new(
        Mapping::file(&region, None).expect("the driver created the region"),
    ));
    let region = Region::attach(mapping.window()).expect("the driver formatted it");
    let registry = Registry::attach(region).expect("the driver formatted it");
    let attachment = registry
        .attach_or_take_over(
            2,
            Process::this(),
            &mut SleepPoll::timeout(Duration::from_secs(10), Duration::from_millis(10)),
            &mut Processes::new(registry),
        )
        .expect("the earlier incarnation is gone");
    let mut party = Party::new(&registry, &attachment, &logs);
    let stop = find(&registry, "stop").window();
    while stop.word(0).load(Relaxed) == 0 {
        party.produce();
        if !party.consume() && party.random.u32(..8) == 0 {
            party
                .consumer
                .wait(&mut Futex::timeout(Duration::from_millis(1)));
        }
    }
    party.finish();
}

fn find(registry: &Registry<'static>, name: &str) -> Segment<'static> {
    registry
        .lookup(Id::from_name(name))
        .expect("the driver created it")
}

struct Party {
    /// `None` after it is closed.
    producer: Option<Producer<'static>>,
    consumer: Consumer<'static>,
    incarnation: u32,
    next_index: u32,
    sent: File,
    got: File,
    random: Rng,
}

impl Party {
    fn new(registry: &Registry<'static>, attachment: &Attachment<'static>, logs: &Path) -> Self {
        let incarnation = attachment.incarnation();
        let log = |name| {
            let mut options = OpenOptions::new();
            let log = options
                .append(true)
                .create(true)
                .open(logs.with_extension(name));
            log.expect("the driver's directory can be written")
        };
        let mut got = log("got");
        enter(&mut got, [incarnation.word(), START, 0, 0]);
        let ring = |name| Ring::attach(find(registry, name).window()).expect("it is a ring");
        Self {
            producer: Some(
                ring("from-2")
                    .claim_producer(incarnation)
                    .expect("the end is its own"),
            ),
            consumer: ring("from-1")
                .claim_consumer(incarnation, OnRestart::Keep)
                .expect("the end is its own"),
            incarnation: incarnation.word(),
            next_index: 0,
            sent: log("sent"),
            got,
            random: Rng::with_seed(incarnation.word().into()),
        }
    }

    /// Makes a record: incarnation, number, random bytes, checksum.
    fn record(&mut self, index: u32) -> Vec<u8> {
        let noise = self.random.usize(..LONGEST - 12);
        let mut record = [self.incarnation.to_ne_bytes(), index.to_ne_bytes()].concat();
        record.extend((0..noise).map(|_| self.random.u8(..)));
        let check = sum(&record);
        record.extend(check.to_ne_bytes());
        record
    }

    fn produce(&mut self) {
        let (count, outcome) = match self.random.u32(..3) {
            0 => self.push_one(),
            1 => self.push_some(),
            _ => self.write_in_place(),
        };
        if count > 0 {
            enter(
                &mut self.sent,
                [self.incarnation, SENT, self.next_index, count],
            );
            self.next_index += count;
            let notified = self.producer().notify(&FutexBell);
            notified.expect("no incarnation took over");
        }
        let outcome = match outcome {
            Err(PushError::Full) => {
                let mut wait = Futex::timeout(Duration::from_millis(1));
                let waited = self.producer().wait_for_space(LONGEST, &mut wait);
                waited.map(drop)
            }
            outcome => outcome,
        };
        match outcome {
            Ok(()) => {}
            Err(PushError::Restarted) => {
                enter(&mut self.sent, [self.incarnation, CONSUMER_RESTARTED, 0, 0])
            }
            Err(error) => fail(&format!("push: {error}")),
        }
    }

    fn push_one(&mut self) -> (u32, Result<(), PushError>) {
        let record = self.record(self.next_index);
        let outcome = self.producer().push(&record);
        (outcome.is_ok().into(), outcome)
    }

    fn push_some(&mut self) -> (u32, Result<(), PushError>) {
        let count = self.random.u32(1..=BATCH);
        let first = self.next_index;
        let records: Vec<_> = (0..count).map(|at| self.record(first + at)).collect();
        let mut batch = self.producer().batch();
        let (mut pushed, mut outcome) = (0, Ok(()));
        for record in &records {
            outcome = batch.push(record);
            if outcome.is_err() {
                break;
            }
            pushed += 1;
        }
        (pushed, batch.publish().and(outcome))
    }

    fn write_in_place(&mut self) -> (u32, Result<(), PushError>) {
        let record = self.record(self.next_index);
        match self.producer().reserve(LONGEST) {
            Ok(mut reservation) => {
                reservation.write(0, &record);
                (1, reservation.commit(record.len()))
            }
            Err(error) => (0, Err(error)),
        }
    }

    /// Returns false if there was no record.
    fn consume(&mut self) -> bool {
        let method = [POPPED, PEEKED, DRAINED][self.random.usize(..3)];
        enter(&mut self.got, [self.incarnation, INTENT, method, 0]);
        let outcome = match method {
            POPPED => self.pop(),
            PEEKED => self.peek(),
            _ => self.drain(),
        };
        match outcome {
            Ok(()) => {}
            Err(PopError::Empty) => return false,
            Err(PopError::Restarted) => {
                enter(&mut self.got, [self.incarnation, PRODUCER_RESTARTED, 0, 0])
            }
            Err(error) => fail(&format!("pop: {error}")),
        }
        let notified = self.consumer.notify(&FutexBell);
        notified.expect("no incarnation took over");
        true
    }

    fn pop(&mut self) -> Result<(), PopError> {
        let mut record = [0; LONGEST];
        let len = self.consumer.pop(&mut record)?;
        log_record(&mut self.got, self.incarnation, POPPED, &record[..len]);
        Ok(())
    }

    fn peek(&mut self) -> Result<(), PopError> {
        let record = self.consumer.peek()?;
        let mut copy = vec![0; record.len()];
        record.read(0, &mut copy);
        log_record(&mut self.got, self.incarnation, PEEKED, &copy);
        self.consumer.release()
    }

    fn drain(&mut self) -> Result<(), PopError> {
        let limit = self.random.usize(1..=8);
        let (got, incarnation) = (&mut self.got, self.incarnation);
        let drained = self.consumer.drain(limit, |record| {
            let mut copy = vec![0; record.len()];
            record.read(0, &mut copy);
            log_record(got, incarnation, DRAINED, &copy);
            true
        })?;
        if drained == 0 {
            return Err(PopError::Empty);
        }
        Ok(())
    }

    /// Closes its producing end, then consumes until the peer has done so and no record is left.
    fn finish(mut self) {
        self.producer = None;
        loop {
            let producing = self.consumer.ring().producer_owner();
            if self.consume() {
                continue;
            }
            if producing.is_none() {
                return;
            }
            self.consumer
                .wait(&mut Futex::timeout(Duration::from_millis(5)));
        }
    }

    fn producer(&mut self) -> &mut Producer<'static> {
        self.producer.as_mut().expect("it is not closed yet")
    }
}

fn log_record(log: &mut File, incarnation: u32, method: u32, record: &[u8]) {
    let (body, check) = record.split_at(record.len().saturating_sub(4));
    if body.len() < 8 || check != sum(body).to_ne_bytes() {
        fail("a record is damaged");
    }
    let word = |at: usize| u32::from_ne_bytes([body[at], body[at + 1], body[at + 2], body[at + 3]]);
    enter(log, [incarnation, method, word(0), word(4)]);
}

fn sum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

/// Appends an entry by one write, so that a killed process leaves only whole entries.
fn enter(log: &mut File, entry: [u32; 4]) {
    let bytes = entry.map(u32::to_ne_bytes).concat();
    log.write_all(&bytes).expect("the log can be written");
}

fn fail(why: &str) -> ! {
    eprintln!("the party in Rust: {why}");
    exit(1)
}
