//! Partition slots in which a hostile peer stores arbitrary words, between our calls
//! and during them.

#![no_main]

use std::cell::Cell;
use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use shmem_core::mem::Heap;
use shmem_core::{Incarnation, Window};
use shmem_fuzz::tables::{LEN, PARTITIONS, TableStore, Target, registry};
use shmem_fuzz::{
    LimitedWait, Many, RandomLiveness, Rarely, SmallIncarnation, Word, expand, while_running,
};
use shmem_registry::{AttachError, Attachment, Heartbeats, Process, Processes, Registry};
use shmem_sync::Liveness;

#[derive(Arbitrary, Debug)]
struct Input {
    /// The stores before the first call.
    slots: Many<Slot>,
    /// True to make all stores from another thread too.
    threaded: Rarely,
    /// The states of incarnations, two bits each.
    gone: u32,
    steps: Many<(Step, Option<Slot>)>,
}

/// A store of the peer in a slot.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Slot {
    partition: u8,
    field: u8,
    word: Word,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Step {
    Attach(u8),
    AttachAfter(SmallIncarnation),
    AttachOrTakeOver {
        partition: u8,
        pauses: u8,
        sleepy: bool,
    },
    Beat,
    Leave,
    Inspect(u8),
    /// Lets `later` milliseconds pass, and checks a heartbeat.
    Heartbeat {
        who: SmallIncarnation,
        later: u8,
    },
    Process(SmallIncarnation),
}

fuzz_target!(|data: &[u8]| {
    let data = expand(data);
    let mut bytes = Unstructured::new(&data);
    let Ok(input) = Input::arbitrary(&mut bytes) else {
        return;
    };
    let heap = Heap::new(LEN);
    let registry = registry(&heap, 0);
    let region = heap.window();
    let apply = |slot: &Slot| slot.apply(region, &registry);
    input.slots.iter().for_each(apply);
    run(&input, registry, region);
    if *input.threaded {
        let stores: Vec<Slot> = input.steps.iter().filter_map(|step| step.1).collect();
        while_running(
            || stores.iter().for_each(apply),
            || run(&input, registry, region),
        );
    }
});

impl Slot {
    fn apply(&self, region: Window<'_>, registry: &Registry<'_>) {
        let target = Target::Slot {
            partition: self.partition,
            word: self.field,
        };
        let store = TableStore {
            target,
            word: self.word,
        };
        store.apply(region, &registry.tables());
    }
}

fn run(input: &Input, registry: Registry<'_>, region: Window<'_>) {
    let now = Cell::new(Duration::ZERO);
    let mut heartbeats = Heartbeats::with_clock(registry, Duration::from_millis(60), || now.get());
    let mut processes = Processes::new(registry);
    let mut liveness = RandomLiveness::new(input.gone);
    let mut attachment: Option<Attachment<'_>> = None;
    for (step, store) in input.steps.iter() {
        match *step {
            Step::Attach(partition) => {
                let attached = registry.attach_partition(partition % 6, Process::this());
                store_attachment(attached, partition % 6, &mut attachment);
            }
            Step::AttachAfter(who) => {
                let attached = registry.attach_after(who.incarnation(), Process::UNKNOWN);
                store_attachment(attached, who.incarnation().partition(), &mut attachment);
            }
            Step::AttachOrTakeOver {
                partition,
                pauses,
                sleepy,
            } => {
                let (number, mut wait) = (partition % 6, LimitedWait::new(pauses, sleepy));
                let attached = registry.attach_or_take_over(
                    number,
                    Process::UNKNOWN,
                    &mut wait,
                    &mut liveness,
                );
                store_attachment(attached, number, &mut attachment);
            }
            Step::Beat => {
                if let Some(attachment) = &mut attachment {
                    let _ = attachment.beat();
                }
            }
            Step::Leave => attachment = None,
            Step::Inspect(partition) => check_slot(&registry, partition),
            Step::Heartbeat { who, later } => {
                now.set(now.get() + Duration::from_millis(later.into()));
                heartbeats.is_gone(who.incarnation());
            }
            Step::Process(who) => {
                processes.is_gone(who.incarnation());
            }
        }
        if let Some(store) = store {
            store.apply(region, &registry);
        }
    }
}

/// Stores the new attachment, and drops the last one.
fn store_attachment<'m>(
    attached: Result<Attachment<'m>, AttachError>,
    partition: u8,
    attachment: &mut Option<Attachment<'m>>,
) {
    match attached {
        Ok(attached) => {
            assert_eq!(attached.incarnation().partition(), partition);
            *attachment = Some(attached);
        }
        Err(AttachError::NoSuchPartition { slots, .. }) => assert_eq!(slots, PARTITIONS),
        Err(AttachError::Attached { incarnation }) => {
            assert_eq!(incarnation.partition(), partition)
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn check_slot(registry: &Registry<'_>, partition: u8) {
    match registry.partition(partition) {
        Ok(slot) => {
            assert_eq!(
                slot.incarnation.map_or(partition, Incarnation::partition),
                partition
            );
            assert!(slot.incarnation.is_some() || !slot.attached);
        }
        Err(AttachError::NoSuchPartition { .. }) => {
            assert!(partition == 0 || usize::from(partition) > PARTITIONS);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
