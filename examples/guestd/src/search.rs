//! Finds the region that was prepared for this machine.
//!
//! | searched, in this order                   | result                                    |
//! |-------------------------------------------|-------------------------------------------|
//! | `shmr.region=` on the kernel command line | any place                                 |
//! | `reserved-memory` in the device tree      | `mem:`, nodes compatible with `shmr,region` |
//! | PCI devices 1af4:1110 (ivshmem)           | `pci:`, their BAR 2                       |
//!
//! The first source with a result decides. More than one place in it is an error, because only a
//! person knows which one KMON uses.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use shmem_core::region::MemorySource;

/// The parameter on the kernel command line that names the place.
const PARAMETER: &str = "shmr.region=";
/// What was searched without a result.
pub(crate) const NOTHING: &str = "no shmr.region= on the kernel's command line, none in the \
                                  device tree, no ivshmem device (PCI 1af4:1110)";
/// The `compatible` string of a reserved range.
const COMPATIBLE: &[u8] = b"shmr,region";
/// The vendor number of Red Hat, and the device number of ivshmem.
const IVSHMEM: (&str, &str) = ("0x1af4", "0x1110");
/// The default numbers of cells of an address and of a length in a device tree.
const DEFAULT_CELLS: (u64, u64) = (2, 1);
/// More cells than any number here has.
const MAX_CELLS: u64 = 4;

/// The directories to search.
pub(crate) struct Search {
    proc: PathBuf,
    sys: PathBuf,
}

impl Search {
    /// Searches this machine.
    pub(crate) fn this_machine() -> Self {
        Self {
            proc: "/proc".into(),
            sys: "/sys".into(),
        }
    }

    /// Returns the region's place; `None` if there is none now.
    ///
    /// # Errors
    /// There are several regions, or the kernel command line does not name a valid place.
    pub(crate) fn find(&self) -> Result<Option<MemorySource>> {
        if let Some(place) = self.on_the_command_line()? {
            return Ok(Some(place));
        }
        let reserved = only(self.in_the_device_tree())?;
        match reserved {
            Some(place) => Ok(Some(place)),
            None => only(self.on_the_pci_bus()),
        }
    }

    fn on_the_command_line(&self) -> Result<Option<MemorySource>> {
        let line = fs::read(self.proc.join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        // The last one is used, as for the kernel's own parameters.
        let words = line.split_ascii_whitespace().rev();
        let mut places = words.filter_map(|word| word.trim_matches('"').strip_prefix(PARAMETER));
        match places.next().map(|place| place.trim_matches('"')) {
            None | Some("auto") => Ok(None),
            Some(place) => {
                let place = place.parse();
                place.map(Some).context("on the kernel's command line")
            }
        }
    }

    fn in_the_device_tree(&self) -> Vec<MemorySource> {
        let parent = self.proc.join("device-tree/reserved-memory");
        let count = |name, default| {
            let cells = fs::read(parent.join(name)).ok();
            let cells = cells.and_then(|cells| number(&cells)).unwrap_or(default);
            cells.min(MAX_CELLS) as usize
        };
        let address = count("#address-cells", DEFAULT_CELLS.0);
        let size = count("#size-cells", DEFAULT_CELLS.1);
        let nodes = entries(&parent).into_iter();
        nodes
            .filter_map(|node| reserved(&node, address, size))
            .collect()
    }

    fn on_the_pci_bus(&self) -> Vec<MemorySource> {
        let devices = entries(&self.sys.join("bus/pci/devices")).into_iter();
        let ours = devices.filter(|device| is_ivshmem(device));
        ours.map(|device| MemorySource::Pci(device.join("resource2")))
            .collect()
    }
}

fn only(mut places: Vec<MemorySource>) -> Result<Option<MemorySource>> {
    if places.len() > 1 {
        let names: Vec<_> = places.iter().map(MemorySource::to_string).collect();
        bail!(
            "there are {} regions: {}; choose one with --region, or with {PARAMETER} on the \
             kernel's command line",
            places.len(),
            names.join(", ")
        );
    }
    Ok(places.pop())
}

/// Returns the place of a reserved range if it is for KMON and enabled.
fn reserved(node: &Path, address: usize, size: usize) -> Option<MemorySource> {
    let compatible = fs::read(node.join("compatible")).ok()?;
    let mut names = compatible.split(|&byte| byte == 0);
    names.any(|name| name == COMPATIBLE).then_some(())?;
    let status = fs::read(node.join("status")).unwrap_or_else(|_| b"okay".to_vec());
    status.starts_with(b"ok").then_some(())?;
    let reg = fs::read(node.join("reg")).ok()?;
    let base = number(reg.get(..address * 4)?)?;
    let len = number(reg.get(address * 4..(address + size) * 4)?)?;
    Some(MemorySource::Physical { base, len })
}

/// Converts the big-endian cells of a property to a number.
fn number(cells: &[u8]) -> Option<u64> {
    let (high, low) = cells.split_at_checked(cells.len().saturating_sub(8))?;
    high.iter().all(|&byte| byte == 0).then_some(())?;
    let digits = low.iter();
    Some(digits.fold(0, |number, &byte| number << 8 | u64::from(byte)))
}

fn is_ivshmem(device: &Path) -> bool {
    let is = |name, number| {
        let text = fs::read_to_string(device.join(name)).unwrap_or_default();
        text.trim() == number
    };
    is("vendor", IVSHMEM.0) && is("device", IVSHMEM.1) && device.join("resource2").exists()
}

/// Returns the entries of `directory`, sorted by name.
fn entries(directory: &Path) -> Vec<PathBuf> {
    let listing = fs::read_dir(directory).into_iter().flatten();
    let mut entries: Vec<_> = listing
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    entries.sort();
    entries
}

/// Enables access to the memory of a PCI device, if it is not enabled yet.
///
/// # Errors
/// The kernel refuses, because the right is missing or a driver uses the device.
pub(crate) fn enable(resource: &Path) -> Result<()> {
    let Some(switch) = resource.parent().map(|device| device.join("enable")) else {
        return Ok(());
    };
    // The kernel counts how often a device is enabled: once is enough.
    let is_off = |text: String| text.trim() == "0";
    if !fs::read_to_string(&switch).is_ok_and(is_off) {
        return Ok(());
    }
    fs::write(&switch, "1").with_context(|| format!("cannot enable {}", resource.display()))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// Files that represent a machine.
    struct Machine(TempDir);

    impl Machine {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn with(self, path: &str, content: impl AsRef<[u8]>) -> Self {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
            self
        }

        fn with_device(self, address: &str, vendor: &str, device: &str) -> Self {
            let directory = format!("sys/bus/pci/devices/{address}");
            self.with(&format!("{directory}/vendor"), format!("{vendor}\n"))
                .with(&format!("{directory}/device"), format!("{device}\n"))
                .with(&format!("{directory}/enable"), "0\n")
                .with(&format!("{directory}/resource2"), "")
        }

        fn with_reserved(self, node: &str, reg: &[u32]) -> Self {
            let directory = format!("proc/device-tree/reserved-memory/{node}");
            let reg: Vec<_> = reg.iter().flat_map(|cell| cell.to_be_bytes()).collect();
            self.with(
                &format!("{directory}/compatible"),
                "vendor,memory\0shmr,region\0",
            )
            .with(&format!("{directory}/reg"), reg)
        }

        fn with_cells(self, address: u32, size: u32) -> Self {
            let directory = "proc/device-tree/reserved-memory";
            self.with(
                &format!("{directory}/#address-cells"),
                address.to_be_bytes(),
            )
            .with(&format!("{directory}/#size-cells"), size.to_be_bytes())
        }

        fn find(&self) -> Result<Option<String>> {
            let search = Search {
                proc: self.0.path().join("proc"),
                sys: self.0.path().join("sys"),
            };
            let root = self.0.path().to_str().unwrap();
            let found = search.find()?;
            Ok(found.map(|place| place.to_string().replace(root, "")))
        }

        fn finds(&self) -> Option<String> {
            self.find().unwrap()
        }
    }

    const DEVICE: &str = "pci:/sys/bus/pci/devices/0000:00:04.0/resource2";

    #[test]
    fn a_machine_without_a_region_has_none() {
        assert_eq!(Machine::new().finds(), None);
        let machine = Machine::new()
            .with("proc/cmdline", "console=ttyS0 quiet\n")
            .with_device("0000:00:03.0", "0x1af4", "0x1000")
            .with("proc/device-tree/reserved-memory/cma/compatible", "x\0");
        assert_eq!(machine.finds(), None);
    }

    #[test]
    fn an_ivshmem_device_is_the_region() {
        let machine = Machine::new()
            .with_device("0000:00:03.0", "0x8086", "0x1110")
            .with_device("0000:00:04.0", "0x1af4", "0x1110");
        assert_eq!(machine.finds().as_deref(), Some(DEVICE));
    }

    #[test]
    fn several_devices_are_an_error_that_names_them_and_the_remedy() {
        let machine = Machine::new()
            .with_device("0000:00:04.0", "0x1af4", "0x1110")
            .with_device("0000:00:05.0", "0x1af4", "0x1110");
        let error = machine.find().unwrap_err().to_string();
        for part in ["00:04.0", "00:05.0", "--region", PARAMETER] {
            assert!(error.contains(part) && !error.contains('\n'), "{error}");
        }
        let machine = machine.with("proc/cmdline", format!("{PARAMETER}{DEVICE}"));
        assert_eq!(machine.finds().as_deref(), Some(DEVICE));
    }

    #[test]
    fn a_reserved_range_of_the_device_tree_comes_before_a_device() {
        let machine = Machine::new()
            .with_device("0000:00:04.0", "0x1af4", "0x1110")
            .with_cells(2, 2)
            .with_reserved("shm@100000000", &[1, 0, 0, 0x20_0000]);
        let found = machine.finds();
        assert_eq!(found.as_deref(), Some("mem:0x100000000+0x200000"));
    }

    #[test]
    fn a_range_has_the_numbers_of_cells_of_its_parent() {
        let found = |machine: Machine| machine.finds();
        let machine = Machine::new().with_cells(1, 1);
        let machine = machine.with_reserved("a", &[0x4000_0000, 0x1000]);
        assert_eq!(found(machine).as_deref(), Some("mem:0x40000000+0x1000"));
        let machine = Machine::new().with_reserved("a", &[0, 0x4000_0000, 0x1000]);
        assert_eq!(found(machine).as_deref(), Some("mem:0x40000000+0x1000"));
        // Truncated, beyond 64 bits, with an impossible number of cells, disabled.
        let machine = Machine::new()
            .with_cells(2, 2)
            .with_reserved("a", &[1, 0, 0]);
        assert_eq!(found(machine), None);
        let machine = Machine::new().with_cells(3, 1);
        assert_eq!(found(machine.with_reserved("a", &[1, 0, 0, 9])), None);
        let machine = Machine::new().with_cells(u32::MAX, u32::MAX);
        assert_eq!(found(machine.with_reserved("a", &[1, 0, 0, 9])), None);
        let off = "proc/device-tree/reserved-memory/a/status";
        let machine = Machine::new().with(off, "disabled\0");
        assert_eq!(found(machine.with_reserved("a", &[0, 1, 2])), None);
    }

    #[test]
    fn the_command_line_decides_before_devices() {
        let machine = Machine::new().with_device("0000:00:04.0", "0x1af4", "0x1110");
        let line = "quiet shmr.region=fd:9 \"shmr.region=mem:0x100000000+2M\" panic=0\n";
        let machine = machine.with("proc/cmdline", line);
        let found = machine.finds();
        assert_eq!(found.as_deref(), Some("mem:0x100000000+0x200000"));
        let machine = machine.with("proc/cmdline", "shmr.region=auto");
        assert_eq!(machine.finds().as_deref(), Some(DEVICE));
        let machine = machine.with("proc/cmdline", "shmr.region=usb:1");
        let error = format!("{:#}", machine.find().unwrap_err());
        assert!(error.contains("command line") && error.contains("usb:1"));
    }

    #[test]
    fn a_device_is_enabled_once() {
        let machine = Machine::new().with_device("0000:00:04.0", "0x1af4", "0x1110");
        let device = machine.0.path().join("sys/bus/pci/devices/0000:00:04.0");
        let switch = || fs::read_to_string(device.join("enable")).unwrap();
        enable(&device.join("resource2")).unwrap();
        assert_eq!(switch(), "1");
        fs::write(device.join("enable"), "1\n").unwrap();
        enable(&device.join("resource2")).unwrap();
        assert_eq!(switch(), "1\n");
    }
}
