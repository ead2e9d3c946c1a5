//! Which devices there are, and whose they are, as sysfs shows it.
//!
//! - **S1** A device is lent from the driver that had it, and given back to it when the
//!   [`Loan`] ends; one that vfio-pci had already stays with it.
//! - **S2** A loan ends only when nothing of the device is open in this process: the
//!   kernel keeps who unbinds a device that is in use waiting for its end.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::address::Address;
use crate::error::OpenError;

/// Where the kernel shows its devices.
const SYS: &str = "/sys";
/// The driver that programs drive devices through.
const VFIO_PCI: &str = "vfio-pci";
/// Vendor and device of ivshmem, as sysfs writes them.
const IVSHMEM: (&str, &str) = ("0x1af4", "0x1110");

/// The ivshmem devices with interrupts, in the order of their addresses.
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
        if Place::new(sys, &address).check().is_ok() {
            found.push(address);
        }
    }
    found.sort();
    Ok(found)
}

/// A device in sysfs.
struct Place<'a> {
    sys: &'a Path,
    address: &'a Address,
    directory: PathBuf,
}

impl<'a> Place<'a> {
    fn new(sys: &'a Path, address: &'a Address) -> Self {
        Self {
            sys,
            address,
            directory: sys.join("bus/pci/devices").join(address.as_str()),
        }
    }

    /// An error unless it is ivshmem with interrupts.
    fn check(&self) -> Result<(), OpenError> {
        let has = |name: &str, value: &str| {
            let text = fs::read_to_string(self.directory.join(name));
            text.is_ok_and(|text| text.trim() == value)
        };
        let (vendor, device) = IVSHMEM;
        if !has("vendor", vendor) || !has("device", device) {
            return Err(OpenError::Missing(self.address.clone()));
        }
        // Its second BAR is the table of its interrupts.
        if !self.directory.join("resource1").exists() {
            return Err(OpenError::Plain(self.address.clone()));
        }
        Ok(())
    }

    /// The last part of what the link `name` points to.
    fn link(&self, name: &str) -> Option<String> {
        let target = fs::read_link(self.directory.join(name)).ok()?;
        Some(target.file_name()?.to_str()?.to_owned())
    }

    fn driver(&self) -> Option<String> {
        self.link("driver")
    }

    /// Whether vfio does without an IOMMU.
    fn is_unsafe_allowed(&self) -> bool {
        let switch = "module/vfio/parameters/enable_unsafe_noiommu_mode";
        let text = fs::read_to_string(self.sys.join(switch));
        text.is_ok_and(|text| text.trim() == "Y")
    }

    fn write(&self, file: &Path, what: &str) -> Result<(), OpenError> {
        let written = fs::write(file, what);
        written.map_err(|why| OpenError::system(format!("write to {}", file.display()), why))
    }

    /// Takes the device from its driver, which is `driver`, and gives it to the one that
    /// its `driver_override` names.
    fn hand_over(&self, driver: Option<&str>) -> Result<(), OpenError> {
        if driver.is_some() {
            self.write(&self.directory.join("driver/unbind"), self.address.as_str())?;
        }
        let probe = self.sys.join("bus/pci/drivers_probe");
        self.write(&probe, self.address.as_str())
    }
}

/// A device that vfio-pci has for our sake (S1).
#[derive(Debug)]
pub(crate) struct Loan {
    sys: PathBuf,
    address: Address,
    /// It had another driver, or none: it is to be given back.
    is_due: bool,
    /// Number of its group in `/dev/vfio`.
    pub(crate) group: String,
}

impl Loan {
    pub(crate) fn of(address: &Address) -> Result<Self, OpenError> {
        Self::of_in(Path::new(SYS), address)
    }

    fn of_in(sys: &Path, address: &Address) -> Result<Self, OpenError> {
        let place = Place::new(sys, address);
        place.check()?;
        if !sys.join("bus/pci/drivers").join(VFIO_PCI).exists() {
            return Err(OpenError::Module(VFIO_PCI));
        }
        if place.link("iommu_group").is_none() && !place.is_unsafe_allowed() {
            return Err(OpenError::Iommu(address.clone()));
        }
        let before = place.driver();
        let mut loan = Self {
            sys: sys.to_owned(),
            address: address.clone(),
            is_due: before.as_deref() != Some(VFIO_PCI),
            group: String::new(),
        };
        if loan.is_due {
            place.write(&place.directory.join("driver_override"), VFIO_PCI)?;
            place.hand_over(before.as_deref())?;
        }
        if place.driver().as_deref() != Some(VFIO_PCI) {
            return Err(OpenError::Refused(address.clone()));
        }
        // Without an IOMMU there is one only now.
        let group = place.link("iommu_group");
        loan.group = group.ok_or_else(|| OpenError::Iommu(address.clone()))?;
        Ok(loan)
    }

    /// Leaves the device with vfio-pci for ever: it is in use beyond this loan (S2).
    pub(crate) fn keep(&mut self) {
        self.is_due = false;
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        if !self.is_due {
            return;
        }
        let place = Place::new(&self.sys, &self.address);
        // Whatever fails: the device stays where it is, and who wants it can take it.
        let _ = place.write(&place.directory.join("driver_override"), "\n");
        let _ = place.hand_over(place.driver().as_deref());
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    /// A sysfs of plain files, where nothing happens by itself.
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

        fn borrow(&self) -> Result<Loan, OpenError> {
            Loan::of_in(self.sys(), &"0000:00:03.0".parse().unwrap())
        }

        fn says(&self) -> String {
            let text = self.borrow().unwrap_err().to_string();
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
    fn what_is_missing_is_said_in_the_order_in_which_one_mends_it() {
        let fake = Fake::new();
        assert!(fake.says().contains("is no ivshmem device"));
        let plain = [("vendor", "0x1af4"), ("device", "0x1110")];
        fake.device("0000:00:03.0", &plain);
        assert!(fake.says().contains("-device ivshmem-doorbell"));
        let device = fake.doorbell("0000:00:03.0");
        assert!(fake.says().contains("modprobe vfio-pci"));
        fake.driver(VFIO_PCI);
        assert!(fake.says().contains("intel_iommu=on"));
        symlink("../groups/7", device.join("iommu_group")).unwrap();
        assert!(fake.says().contains("did not take"));
    }

    #[test]
    fn a_device_that_vfio_pci_has_already_stays_as_it_is() {
        let fake = Fake::new();
        let device = fake.doorbell("0000:00:03.0");
        symlink(fake.driver(VFIO_PCI), device.join("driver")).unwrap();
        symlink("../groups/7", device.join("iommu_group")).unwrap();
        let loan = fake.borrow().unwrap();
        assert_eq!(loan.group, "7");
        drop(loan);
        assert!(!device.join("driver_override").exists());
    }

    #[test]
    fn a_device_is_taken_from_its_driver_and_given_back() {
        let fake = Fake::new();
        let device = fake.doorbell("0000:00:03.0");
        fake.driver(VFIO_PCI);
        let driver = fake.driver("uio_ivshmem");
        symlink(&driver, device.join("driver")).unwrap();
        symlink("../groups/7", device.join("iommu_group")).unwrap();
        assert!(matches!(fake.borrow(), Err(OpenError::Refused(_))));
        let read = |path: &Path| fs::read_to_string(path).unwrap();
        assert_eq!(read(&driver.join("unbind")), "0000:00:03.0");
        assert_eq!(read(&device.join("driver_override")), "\n");
        let probe = fake.sys().join("bus/pci/drivers_probe");
        assert_eq!(read(&probe), "0000:00:03.0");
    }

    #[test]
    fn without_an_iommu_it_goes_where_the_kernel_was_told_so() {
        let fake = Fake::new();
        let device = fake.doorbell("0000:00:03.0");
        symlink(fake.driver(VFIO_PCI), device.join("driver")).unwrap();
        let parameters = fake.sys().join("module/vfio/parameters");
        fs::create_dir_all(&parameters).unwrap();
        let switch = parameters.join("enable_unsafe_noiommu_mode");
        fs::write(&switch, "N\n").unwrap();
        assert!(matches!(fake.borrow(), Err(OpenError::Iommu(_))));
        fs::write(&switch, "Y\n").unwrap();
        // The group that vfio makes.
        symlink("../groups/0", device.join("iommu_group")).unwrap();
        assert_eq!(fake.borrow().unwrap().group, "0");
    }
}
