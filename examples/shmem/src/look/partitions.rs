//! Who is attached, and whether it lives.

use shmem_core::Life;
use shmem_registry::{AttachError, Process, Processes, Registry};
use shmem_sync::Liveness;

use super::lives::{Lives, Slot};
use crate::finding::Findings;
use crate::report::{LifeView, Partition, ProcessView, Source};

/// Looks at every slot that was ever used.
pub(super) fn look(
    registry: &Registry<'_>,
    source: Source,
    findings: &mut Findings,
) -> (Vec<Partition>, Lives) {
    let mut kernel = (source == Source::Live).then(|| Kernel {
        space: Process::this().space,
        processes: Processes::new(*registry),
    });
    let mut partitions = Vec::new();
    let mut slots = Vec::new();
    for number in 1..=registry.geometry().partitions {
        let number = u8::try_from(number).expect("a registry has 128 slots at the most");
        let partition = match registry.partition(number) {
            Ok(slot) => slot.life.map(|life| shown(life, &slot, kernel.as_mut())),
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
    (partitions, Lives::new(slots))
}

/// What this machine knows of processes.
struct Kernel<'m> {
    space: u32,
    processes: Processes<'m>,
}

fn shown(
    life: Life,
    slot: &shmem_registry::Partition,
    kernel: Option<&mut Kernel<'_>>,
) -> Partition {
    let Process { space, number, .. } = slot.process;
    let here = kernel.as_ref().map(|kernel| space == kernel.space);
    let alive = kernel
        .filter(|_| here == Some(true) && slot.attached)
        .map(|kernel| !kernel.processes.is_gone(life));
    let known = slot.process != Process::UNKNOWN;
    Partition {
        number: life.partition(),
        life: Some(LifeView::new(
            life,
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

/// A slot that holds no life of its partition.
fn nobody(number: u8) -> Partition {
    Partition {
        number,
        life: None,
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
            let what = format!("its slot holds {:#010x}, no life of it", corrupt.value);
            findings.damaged("partition.life", &at, what);
        }
        error => findings.damaged("partition.life", &at, error),
    }
}

fn slot_of(partition: &Partition) -> Option<Slot> {
    let view = partition.life?;
    Some(Slot {
        life: Life::new(view.partition, view.incarnation)?,
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
