//! The attached partitions, and whether they are alive.

use shmem_core::Incarnation;
use shmem_registry::{AttachError, Process, Processes, Registry};
use shmem_sync::Liveness;

use super::incarnations::{Incarnations, Slot};
use crate::finding::Findings;
use crate::report::{IncarnationView, Partition, ProcessView, Source};

/// Reads every slot that was ever used.
pub(super) fn read(
    registry: &Registry<'_>,
    source: Source,
    findings: &mut Findings,
) -> (Vec<Partition>, Incarnations) {
    let mut kernel = (source == Source::Live).then(|| Kernel {
        namespace_id: Process::this().namespace_id,
        processes: Processes::new(*registry),
    });
    let mut partitions = Vec::new();
    let mut slots = Vec::new();
    for number in 1..=registry.geometry().partitions {
        let number = u8::try_from(number).expect("a registry has at most 128 slots");
        let partition = match registry.partition(number) {
            Ok(slot) => slot
                .incarnation
                .map(|incarnation| shown(incarnation, &slot, kernel.as_mut())),
            Err(error) => {
                report_corrupt_slot(number, error, findings);
                Some(empty_slot(number))
            }
        };
        slots.push(partition.as_ref().and_then(to_slot));
        if let Some(partition) = partition {
            report_gone(&partition, findings);
            partitions.push(partition);
        }
    }
    (partitions, Incarnations::new(slots))
}

/// The processes of this machine.
struct Kernel<'m> {
    namespace_id: u32,
    processes: Processes<'m>,
}

fn shown(
    incarnation: Incarnation,
    slot: &shmem_registry::Partition,
    kernel: Option<&mut Kernel<'_>>,
) -> Partition {
    let Process {
        namespace_id,
        number,
        ..
    } = slot.process;
    let on_this_kernel = kernel
        .as_ref()
        .map(|kernel| namespace_id == kernel.namespace_id);
    let alive = kernel
        .filter(|_| on_this_kernel == Some(true) && slot.attached)
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
            on_this_kernel,
            alive,
        }),
    }
}

/// Returns a slot that holds no incarnation of its partition.
fn empty_slot(number: u8) -> Partition {
    Partition {
        number,
        incarnation: None,
        attached: false,
        heartbeat: 0,
        moves: None,
        process: None,
    }
}

fn report_corrupt_slot(number: u8, error: AttachError, findings: &mut Findings) {
    let at = format!("partition {number}");
    match error {
        AttachError::Corrupt(corrupt) => {
            let what = format!(
                "its slot holds {:#010x}, not an incarnation of it",
                corrupt.value
            );
            findings.damaged("partition.incarnation", &at, what);
        }
        error => findings.damaged("partition.incarnation", &at, error),
    }
}

fn to_slot(partition: &Partition) -> Option<Slot> {
    let view = partition.incarnation?;
    Some(Slot {
        incarnation: Incarnation::new(view.partition, view.incarnation)?,
        gone: view.gone == Some(true),
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
