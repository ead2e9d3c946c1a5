//! The interrupts of the device that contains the region's memory.
//!
//! A device with interrupts is used through vfio until the process ends. It stays bound to
//! vfio-pci, where the next incarnation finds it. If vfio cannot be used, guestd polls its memory,
//! as that of a device without interrupts.

use std::path::Path;
use std::sync::Arc;

use ivshmem_vfio::{Address, Device, OpenError};
use kmon_protocol::link::bells::{RECORDS, ROOM, VECTORS};
use kmon_protocol::link::{Bells, RingPeers};
use shmem_core::Mapping;

/// Rings through the device.
struct Peers(&'static Device);

impl RingPeers for Peers {
    fn ring(&self, peer: Option<u16>, vector: u16) {
        // If the device is gone, KMON cannot be reached anyway.
        if let Some(peer) = peer {
            let _ = self.0.ring(peer, vector);
        }
    }
}

/// Opens the device whose memory is `resource`. Returns `None` if it has no interrupts, or if they
/// cannot be used, which is logged.
pub(crate) fn open(resource: &Path) -> Option<(&'static Mapping, Bells)> {
    let name = resource.parent()?.file_name()?.to_str()?;
    let address: Address = name.parse().ok()?;
    let device = match Device::open(&address, VECTORS) {
        Ok(device) => Box::leak(Box::new(device)),
        Err(OpenError::Plain(_) | OpenError::Missing(_)) => return None,
        Err(why) => {
            crate::log(format_args!(
                "polling, because interrupts cannot be used: {why}"
            ));
            return None;
        }
    };
    let own = [RECORDS, ROOM].map(|vector| device.own(vector).map(Arc::clone));
    let [Some(records), Some(room)] = own else {
        return None;
    };
    let bells = Bells::for_instance([records, room], Arc::new(Peers(device)));
    Some((device.memory(), bells))
}
