//! vfio's ioctls, as the kernel's `Documentation/driver-api/vfio.rst` describes them.
//!
//! - **F1** A structure that is passed begins with its own length and outlives the call,
//!   which keeps no pointer to it.
//! - **F2** The descriptors stay open during the calls on them.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use vfio_bindings::bindings::vfio::{
    VFIO_API_VERSION, VFIO_BASE, VFIO_GROUP_FLAGS_VIABLE, VFIO_IRQ_SET_ACTION_TRIGGER,
    VFIO_IRQ_SET_DATA_EVENTFD, VFIO_NOIOMMU_IOMMU, VFIO_PCI_MSIX_IRQ_INDEX, VFIO_TYPE,
    VFIO_TYPE1v2_IOMMU, vfio_group_status, vfio_irq_info, vfio_irq_set, vfio_region_info,
};

use crate::address::Address;
use crate::error::OpenError;

mod call {
    use super::{
        VFIO_BASE, VFIO_TYPE, vfio_group_status, vfio_irq_info, vfio_irq_set, vfio_region_info,
    };
    use nix::{
        ioctl_none_bad, ioctl_readwrite_bad, ioctl_write_int_bad, ioctl_write_ptr_bad,
        request_code_none,
    };

    /// vfio's numbers count from its base and do not encode the argument's size or direction.
    const fn number(which: u32) -> nix::sys::ioctl::ioctl_num_type {
        request_code_none!(VFIO_TYPE, VFIO_BASE + which)
    }

    ioctl_none_bad!(get_api_version, number(0));
    ioctl_write_int_bad!(check_extension, number(1));
    ioctl_write_int_bad!(set_iommu, number(2));
    ioctl_readwrite_bad!(group_get_status, number(3), vfio_group_status);
    ioctl_write_ptr_bad!(group_set_container, number(4), i32);
    ioctl_write_ptr_bad!(group_get_device_fd, number(6), std::ffi::c_char);
    ioctl_readwrite_bad!(device_get_region_info, number(8), vfio_region_info);
    ioctl_readwrite_bad!(device_get_irq_info, number(9), vfio_irq_info);
    ioctl_write_ptr_bad!(device_set_irqs, number(10), vfio_irq_set);
}

/// A device and the files that have to stay open for it.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) device: File,
    _group: File,
    _container: File,
}

/// A range of the device's descriptor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

/// Opens a device that is bound to vfio-pci, in group `group`.
pub(crate) fn open(address: &Address, group: &str) -> Result<Opened, OpenError> {
    let container = open_file(Path::new("/dev/vfio/vfio"))?;
    // SAFETY: F2; nothing is passed.
    let version = unsafe { call::get_api_version(container.as_raw_fd()) };
    if version != Ok(VFIO_API_VERSION as i32) {
        let why = io::Error::other(format!("the kernel has another version: {version:?}"));
        return Err(OpenError::system("use vfio", why));
    }
    let (group_file, iommu) = open_group(address, group)?;
    check_viable(address, group, &group_file)?;
    join(&container, &group_file, iommu)?;
    let device = get_device(address, &group_file)?;
    Ok(Opened {
        device: device.into(),
        _group: group_file,
        _container: container,
    })
}

/// Opens the group, and returns the kind of IOMMU that protects memory from it.
fn open_group(address: &Address, group: &str) -> Result<(File, u32), OpenError> {
    let guarded = Path::new("/dev/vfio").join(group);
    let bare = Path::new("/dev/vfio").join(format!("noiommu-{group}"));
    let (path, iommu) = if !guarded.exists() && bare.exists() {
        (bare, VFIO_NOIOMMU_IOMMU)
    } else {
        (guarded, VFIO_TYPE1v2_IOMMU)
    };
    let file = open_file(&path).map_err(|error| match error {
        OpenError::System { why, .. } if has_errno(&why, Errno::EBUSY) => {
            OpenError::Busy(address.clone())
        }
        error => error,
    })?;
    Ok((file, iommu))
}

fn open_file(path: &Path) -> Result<File, OpenError> {
    let opened = OpenOptions::new().read(true).write(true).open(path);
    opened.map_err(|why| OpenError::system(format!("open {}", path.display()), why))
}

fn has_errno(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno as i32)
}

fn check_viable(address: &Address, group: &str, file: &File) -> Result<(), OpenError> {
    let mut status = vfio_group_status {
        argsz: size_of::<vfio_group_status>() as u32,
        flags: 0,
    };
    // SAFETY: F1, F2.
    let asked = unsafe { call::group_get_status(file.as_raw_fd(), &mut status) };
    asked.map_err(|why| OpenError::system("ask for the IOMMU group", why))?;
    if status.flags & VFIO_GROUP_FLAGS_VIABLE == 0 {
        return Err(OpenError::Shared {
            device: address.clone(),
            group: group.to_owned(),
        });
    }
    Ok(())
}

/// Attaches the group to an IOMMU; only then its device can be opened.
fn join(container: &File, group: &File, iommu: u32) -> Result<(), OpenError> {
    // SAFETY: F2; a number is passed.
    let can = unsafe { call::check_extension(container.as_raw_fd(), iommu as i32) };
    if can != Ok(1) {
        return Err(OpenError::Module("vfio_iommu_type1"));
    }
    // SAFETY: F1, F2.
    let set = unsafe { call::group_set_container(group.as_raw_fd(), &container.as_raw_fd()) };
    set.map_err(|why| OpenError::system("put the IOMMU group into a container", why))?;
    // SAFETY: F2; a number is passed.
    let set = unsafe { call::set_iommu(container.as_raw_fd(), iommu as i32) };
    match set {
        Ok(_) => Ok(()),
        Err(Errno::EPERM) => Err(OpenError::Remapping),
        Err(why) => Err(OpenError::system("attach the device to its IOMMU", why)),
    }
}

fn get_device(address: &Address, group: &File) -> Result<OwnedFd, OpenError> {
    let name = CString::new(address.to_string()).expect("an address is digits and colons");
    // SAFETY: F2; the text outlives the call.
    let fd = unsafe { call::group_get_device_fd(group.as_raw_fd(), name.as_ptr()) };
    let fd = fd.map_err(|why| OpenError::system(format!("open {address} through vfio"), why))?;
    // SAFETY: the kernel has just made it for us, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

impl Opened {
    /// Returns where region `index` of the device is in the descriptor.
    pub(crate) fn region(&self, index: u32) -> Result<Range, OpenError> {
        let mut info = vfio_region_info {
            argsz: size_of::<vfio_region_info>() as u32,
            index,
            ..Default::default()
        };
        // SAFETY: F1, F2.
        let asked = unsafe { call::device_get_region_info(self.device.as_raw_fd(), &mut info) };
        asked.map_err(|why| OpenError::system(format!("find region {index}"), why))?;
        Ok(Range {
            offset: info.offset,
            len: info.size,
        })
    }

    /// Returns how many MSI-X vectors the device has.
    pub(crate) fn vectors(&self) -> Result<u32, OpenError> {
        let mut info = vfio_irq_info {
            argsz: size_of::<vfio_irq_info>() as u32,
            index: VFIO_PCI_MSIX_IRQ_INDEX,
            ..Default::default()
        };
        // SAFETY: F1, F2.
        let asked = unsafe { call::device_get_irq_info(self.device.as_raw_fd(), &mut info) };
        asked.map_err(|why| OpenError::system("count the vectors", why))?;
        Ok(info.count)
    }

    /// Makes the device write to `bells`, one for each vector from 0.
    pub(crate) fn trigger(&self, bells: &[impl AsFd]) -> Result<(), OpenError> {
        let header = size_of::<vfio_irq_set>() / size_of::<u32>();
        let len = (header + bells.len()) * size_of::<u32>();
        // argsz, flags, index, start, count; the descriptors follow.
        let mut set = vec![
            len as u32,
            VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
            VFIO_PCI_MSIX_IRQ_INDEX,
            0,
            bells.len() as u32,
        ];
        let numbers = bells.iter().map(|bell| bell.as_fd().as_raw_fd());
        set.extend(numbers.map(i32::cast_unsigned));
        // SAFETY: F1, F2; five words of header, as the structure has, and `count` descriptors.
        let set = unsafe { call::device_set_irqs(self.device.as_raw_fd(), set.as_ptr().cast()) };
        set.map(drop)
            .map_err(|why| OpenError::system("enable the interrupts", why))
    }
}

const _: () = assert!(size_of::<vfio_irq_set>() == 5 * size_of::<u32>());
