//! Who is attached, and whether it lives.

use shmem_core::Incarnation;
use shmem_registry::{AttachError, Process, Processes, Registry};
use shmem_sync::Liveness;

use super::incarnations::{Incarnations, Slot};
use crate::finding::Findings;
use crate::report::{IncarnationView, Partition, ProcessView, Source};

/// Looks at every slot that was ever used.
pub(super) fn look(
    registry: &Registry<'_>,
    source: Source,
    findings: &mut Findings,
) -> (Vec<Partition>, Incarnations) {
    let mut kernel = (source == Source::Live).then(|| Kernel {
        space: Process::this().space,
        processes: Processes::new(*registry),
    });
    let mut partitions = Vec::new();
    let mut slots = Vec::new();
    for number in 1..=registry.geometry().partitions {
        let number = u8::try_from(number).expect("a registry has 128 slots at the most");
        let partition = match registry.partition(number) {
            Ok(slot) => slot
                .incarnation
                .map(|incarnation| shown(incarnation, &slot, kernel.as_mut())),
            Err(error) => {
                broken(number, error, findings);
                Some(nobody(number))
            }
        };
        slots.push(partition.as_ref().and_then(slot_of));
        if let Some(partition) = partition {
            report_gone(&partition, findings);
            partitions.push(partition);
        }
    }
    (partitions, Incarnations::new(slots))
}

/// What this machine knows of processes.
struct Kernel<'m> {
    space: u32,
    processes: Processes<'m>,
}

fn shown(
    incarnation: Incarnation,
    slot: &shmem_registry::Partition,
    kernel: Option<&mut Kernel<'_>>,
) -> Partition {
    let Process { space, number, .. } = slot.process;
    let here = kernel.as_ref().map(|kernel| space == kernel.space);
    let alive = kernel
        .filter(|_| here == Some(true) && slot.attached)
        .map(|kernel| !kernel.processes.is_gone(incarnation));
    let known = slot.process != Process::UNKNOWN;
    Partition {
        number: incarnation.partition(),
        incarnation: Some(IncarnationView::new(
            incarnation,
            Some(!slot.attached || alive == Some(false)),
        )),
        attached: slot.attached,
        heartbeat: slot.heartbeat,
        moves: None,
        process: known.then_some(ProcessView {
            number,
            here,
            alive,
        }),
    }
}

/// A slot that holds no incarnation of its partition.
fn nobody(number: u8) -> Partition {
    Partition {
        number,
        incarnation: None,
        attached: false,
        heartbeat: 0,
        moves: None,
        process: None,
    }
}

fn broken(number: u8, error: AttachError, findings: &mut Findings) {
    let at = format!("partition {number}");
    match error {
        AttachError::Corrupt(corrupt) => {
            let what = format!(
                "its slot holds {:#010x}, no incarnation of it",
                corrupt.value
            );
            findings.damaged("partition.incarnation", &at, what);
        }
        error => findings.damaged("partition.incarnation", &at, error),
    }
}

fn slot_of(partition: &Partition) -> Option<Slot> {
    let view = partition.incarnation?;
    Some(Slot {
        incarnation: Incarnation::new(view.partition, view.incarnation)?,
        over: view.over == Some(true),
    })
}

fn report_gone(partition: &Partition, findings: &mut Findings) {
    let Some(process) = partition
        .process
        .filter(|process| process.alive == Some(false))
    else {
        return;
    };
    let at = format!("partition {}", partition.number);
    let what = format!("process {} ended and did not leave", process.number);
    findings.left("partition.gone", &at, what);
}
