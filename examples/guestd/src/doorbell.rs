//! The interrupts of the device that the region's memory is in.
//!
//! A device with interrupts is driven through vfio, from here to the end of the process: it
//! stays with vfio-pci, where the next incarnation finds it. Where that cannot be, its memory is
//! used as that of a device without, and looked at again and again.

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
        // Of a device that is gone KMON learns nothing more anyway.
        if let Some(peer) = peer {
            let _ = self.0.ring(peer, vector);
        }
    }
}

/// Takes over the device whose memory is `resource`; nothing if it has no interrupts, or
/// none that can be had, which is said.
pub(crate) fn take(resource: &Path) -> Option<(&'static Mapping, Bells)> {
    let name = resource.parent()?.file_name()?.to_str()?;
    let address: Address = name.parse().ok()?;
    let device = match Device::open(&address, VECTORS) {
        Ok(device) => Box::leak(Box::new(device)),
        Err(OpenError::Plain(_) | OpenError::Missing(_)) => return None,
        Err(why) => {
            crate::log(format_args!("polls, for want of interrupts: {why}"));
            return None;
        }
    };
    let own = [RECORDS, ROOM].map(|vector| device.own(vector).map(Arc::clone));
    let [Some(records), Some(room)] = own else {
        return None;
    };
    let bells = Bells::of_instance([records, room], Arc::new(Peers(device)));
    Some((device.memory(), bells))
}
