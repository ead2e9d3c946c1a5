//! The devices of the machine and their drivers, as sysfs shows them.
//!
//! - **S1** When a [`VfioBinding`] ends, the device goes back to the driver that it had. A
//!   device that was bound to vfio-pci already stays bound to it.
//! - **S2** A binding ends only when nothing of the device is open in this process: the
//!   kernel blocks an unbind until the device is not in use.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::address::Address;
use crate::error::OpenError;

/// Where sysfs is mounted.
const SYS: &str = "/sys";
/// The kernel's driver for drivers in user space.
const VFIO_PCI: &str = "vfio-pci";
/// Vendor and device number of ivshmem, as sysfs writes them.
const IVSHMEM: (&str, &str) = ("0x1af4", "0x1110");

/// Returns the ivshmem devices with interrupts, in the order of their addresses.
///
/// # Errors
///
/// The kernel's reason why its devices cannot be listed.
pub fn find() -> io::Result<Vec<Address>> {
    find_in(Path::new(SYS))
}

fn find_in(sys: &Path) -> io::Result<Vec<Address>> {
    let mut found = Vec::new();
    let entries = match fs::read_dir(sys.join("bus/pci/devices")) {
        Ok(entries) => entries,
        // A machine without PCI.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let name = entry?.file_name();
        let Some(Ok(address)) = name.to_str().map(str::parse) else {
            continue;
        };
        if DeviceDir::new(sys, &address).check().is_ok() {
            found.push(address);
        }
    }
    found.sort();
    Ok(found)
}

/// A device's directory in sysfs.
struct DeviceDir<'a> {
    sys: &'a Path,
    address: &'a Address,
    path: PathBuf,
}

impl<'a> DeviceDir<'a> {
    fn new(sys: &'a Path, address: &'a Address) -> Self {
        Self {
            sys,
            address,
            path: sys.join("bus/pci/devices").join(address.as_str()),
        }
    }

    /// Returns an error unless it is ivshmem with interrupts.
    fn check(&self) -> Result<(), OpenError> {
        let has = |name: &str, value: &str| {
            let text = fs::read_to_string(self.path.join(name));
            text.is_ok_and(|text| text.trim() == value)
        };
        let (vendor, device) = IVSHMEM;
        if !has("vendor", vendor) || !has("device", device) {
            return Err(OpenError::Missing(self.address.clone()));
        }
        // Its second BAR, resource1, is the table of its interrupts.
        if !self.path.join("resource1").exists() {
            return Err(OpenError::Plain(self.address.clone()));
        }
        Ok(())
    }

    /// Returns the last part of the target of the link `name`.
    fn link(&self, name: &str) -> Option<String> {
        let target = fs::read_link(self.path.join(name)).ok()?;
        Some(target.file_name()?.to_str()?.to_owned())
    }

    fn driver(&self) -> Option<String> {
        self.link("driver")
    }

    /// Returns true if vfio works without an IOMMU.
    fn is_unsafe_allowed(&self) -> bool {
        let switch = "module/vfio/parameters/enable_unsafe_noiommu_mode";
        let text = fs::read_to_string(self.sys.join(switch));
        text.is_ok_and(|text| text.trim() == "Y")
    }

    fn write(&self, file: &Path, text: &str) -> Result<(), OpenError> {
        let written = fs::write(file, text);
        written.map_err(|why| OpenError::system(format!("write to {}", file.display()), why))
    }

    /// Unbinds the device from its driver, which is `driver`, and binds it to the driver that
    /// its `driver_override` names.
    fn rebind(&self, driver: Option<&str>) -> Result<(), OpenError> {
        if driver.is_some() {
            self.write(&self.path.join("driver/unbind"), self.address.as_str())?;
        }
        let probe = self.sys.join("bus/pci/drivers_probe");
        self.write(&probe, self.address.as_str())
    }
}

/// A device that is bound to vfio-pci (S1).
#[derive(Debug)]
pub(crate) struct VfioBinding {
    sys: PathBuf,
    address: Address,
    /// The device had another driver, or none, and goes back to it.
    must_restore: bool,
    /// Number of its group in `/dev/vfio`.
    pub(crate) group: String,
}

impl VfioBinding {
    pub(crate) fn bind(address: &Address) -> Result<Self, OpenError> {
        Self::bind_in(Path::new(SYS), address)
    }

    fn bind_in(sys: &Path, address: &Address) -> Result<Self, OpenError> {
        let device = DeviceDir::new(sys, address);
        device.check()?;
        if !sys.join("bus/pci/drivers").join(VFIO_PCI).exists() {
            return Err(OpenError::Module(VFIO_PCI));
        }
        if device.link("iommu_group").is_none() && !device.is_unsafe_allowed() {
            return Err(OpenError::Iommu(address.clone()));
        }
        let before = device.driver();
        let mut binding = Self {
            sys: sys.to_owned(),
            address: address.clone(),
            must_restore: before.as_deref() != Some(VFIO_PCI),
            group: String::new(),
        };
        if binding.must_restore {
            device.write(&device.path.join("driver_override"), VFIO_PCI)?;
            device.rebind(before.as_deref())?;
        }
        if device.driver().as_deref() != Some(VFIO_PCI) {
            return Err(OpenError::Refused(address.clone()));
        }
        // Without an IOMMU the group exists only from now on.
        let group = device.link("iommu_group");
        binding.group = group.ok_or_else(|| OpenError::Iommu(address.clone()))?;
        Ok(binding)
    }

    /// Leaves the device bound to vfio-pci: it stays in use after this binding (S2).
    pub(crate) fn leave_bound(&mut self) {
        self.must_restore = false;
    }
}

impl Drop for VfioBinding {
    fn drop(&mut self) {
        if !self.must_restore {
            return;
        }
        let device = DeviceDir::new(&self.sys, &self.address);
        // After an error the device keeps its driver, and the next program can take it from there.
        let _ = device.write(&device.path.join("driver_override"), "\n");
        let _ = device.rebind(device.driver().as_deref());
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    /// A sysfs of plain files, which only the test changes.
    struct Fake(TempDir);

    impl Fake {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn sys(&self) -> &Path {
            self.0.path()
        }

        fn device(&self, address: &str, files: &[(&str, &str)]) -> PathBuf {
            let directory = self.sys().join("bus/pci/devices").join(address);
            fs::create_dir_all(&directory).unwrap();
            for (name, text) in files {
                fs::write(directory.join(name), text).unwrap();
            }
            directory
        }

        fn doorbell(&self, address: &str) -> PathBuf {
            let (vendor, device) = ("0x1af4\n", "0x1110\n");
            let files = [("vendor", vendor), ("device", device), ("resource1", "")];
            self.device(address, &files)
        }

        fn driver(&self, name: &str) -> PathBuf {
            let directory = self.sys().join("bus/pci/drivers").join(name);
            fs::create_dir_all(&directory).unwrap();
            directory
        }

        fn bind(&self) -> Result<VfioBinding, OpenError> {
            VfioBinding::bind_in(self.sys(), &"0000:00:03.0".parse().unwrap())
        }

        fn error(&self) -> String {
            let text = self.bind().unwrap_err().to_string();
            assert!(!text.contains('\n'));
            text
        }
    }

    #[test]
    fn only_ivshmem_with_interrupts_is_found() {
        let fake = Fake::new();
        assert_eq!(find_in(fake.sys()).unwrap(), []);
        fake.doorbell("0000:00:05.0");
        fake.doorbell("0000:00:03.0");
        let plain = [("vendor", "0x1af4\n"), ("device", "0x1110\n")];
        fake.device("0000:00:01.0", &plain);
        let disk = [
            ("vendor", "0x1af4"),
            ("device", "0x1001"),
            ("resource1", ""),
        ];
        fake.device("0000:00:02.0", &disk);
        let found: Vec<_> = find_in(fake.sys()).unwrap();
        let names: Vec<_> = found.iter().map(Address::to_string).collect();
        assert_eq!(names, ["0000:00:03.0", "0000:00:05.0"]);
    }

    #[test]
    fn errors_name_what_is_missing_in_the_order_of_the_repairs() {
        let fake = Fake::new();
        assert!(fake.error().contains("is not an ivshmem device"));
        let plain = [("vendor", "0x1af4"), ("device", "0x1110")];
        fake.device("0000:00:03.0", &plain);
        assert!(fake.error().contains("-device ivshmem-doorbell"));
        let device = fake.doorbell("0000:00:03.0");
        assert!(fake.error().contains("modprobe vfio-pci"));
        fake.driver(VFIO_PCI);
        assert!(fake.error().contains("intel_iommu=on"));
        symlink("../groups/7", device.join("iommu_group")).unwrap();
        assert!(fake.error().contains("did not bind"));
    }

    #[test]
    fn a_device_that_is_bound_to_vfio_pci_stays_bound() {
        let fake = Fake::new();
        let device = fake.doorbell("0000:00:03.0");
        symlink(fake.driver(VFIO_PCI), device.join("driver")).unwrap();
        symlink("../groups/7", device.join("iommu_group")).unwrap();
        let binding = fake.bind().unwrap();
        assert_eq!(binding.group, "7");
        drop(binding);
        assert!(!device.join("driver_override").exists());
    }

    #[test]
    fn a_device_is_unbound_from_its_driver_and_bound_to_it_again() {
        let fake = Fake::new();
        let device = fake.doorbell("0000:00:03.0");
        fake.driver(VFIO_PCI);
        let driver = fake.driver("uio_ivshmem");
        symlink(&driver, device.join("driver")).unwrap();
        symlink("../groups/7", device.join("iommu_group")).unwrap();
        assert!(matches!(fake.bind(), Err(OpenError::Refused(_))));
        let read = |path: &Path| fs::read_to_string(path).unwrap();
        assert_eq!(read(&driver.join("unbind")), "0000:00:03.0");
        assert_eq!(read(&device.join("driver_override")), "\n");
        let probe = fake.sys().join("bus/pci/drivers_probe");
        assert_eq!(read(&probe), "0000:00:03.0");
    }

    #[test]
    fn without_an_iommu_it_works_only_if_the_kernel_allows_the_unsafe_mode() {
        let fake = Fake::new();
        let device = fake.doorbell("0000:00:03.0");
        symlink(fake.driver(VFIO_PCI), device.join("driver")).unwrap();
        let parameters = fake.sys().join("module/vfio/parameters");
        fs::create_dir_all(&parameters).unwrap();
        let switch = parameters.join("enable_unsafe_noiommu_mode");
        fs::write(&switch, "N\n").unwrap();
        assert!(matches!(fake.bind(), Err(OpenError::Iommu(_))));
        fs::write(&switch, "Y\n").unwrap();
        // The group that vfio creates.
        symlink("../groups/0", device.join("iommu_group")).unwrap();
        assert_eq!(fake.bind().unwrap().group, "0");
    }
}
