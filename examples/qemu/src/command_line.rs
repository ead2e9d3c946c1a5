//! QEMU's arguments for a plan.
//!
//! - **C1** More than one processor is possible, and the translator has a thread for each. With
//!   only one, QEMU omits fences, and implements read-modify-write with plain loads and stores.
//! - **C2** No console: no serial port, no screen. All output of a guest is in the region.
//! - **C3** A guest that panics stops and keeps its state. One that resets itself ends, until it is
//!   [allowed to](crate::Machine::allow_reboot). `panic=-1` makes a panic at boot a reset, when
//!   no driver can report it yet.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use crate::plan::{Accelerator, Boot, Plan, Transport, VECTORS};

/// The number of the region's descriptor in QEMU.
pub(crate) const REGION: i32 = 3;
/// The number of the descriptor of its monitor's listening socket in QEMU.
pub(crate) const MONITOR: i32 = 4;

/// The address of the region for [`Transport::Reserved`].
const RESERVED_AT: u64 = 4 << 30;

impl Plan {
    /// Returns QEMU's program and arguments for a region of `len` bytes.
    ///
    /// QEMU needs the region as descriptor 3, and a listening socket as descriptor 4.
    pub fn command_line(&self, len: u64) -> Vec<OsString> {
        let mut line = Line(vec![self.program.clone().into()]);
        line.words(
            "-nodefaults -no-user-config -display none -vga none -serial none -parallel none",
        );
        line.words(
            "-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
        );
        line.pair("-name", escaped(OsStr::new(&self.name)));
        self.processors(&mut line);
        self.memory(&mut line, len);
        line.words("-device pvpanic -action panic=pause,reboot=shutdown,shutdown=poweroff");
        line.pair(
            "-chardev",
            format!("socket,id=monitor,fd={MONITOR},server=on,wait=off"),
        );
        line.words("-mon chardev=monitor,mode=control");
        self.region(&mut line, len);
        self.boot(&mut line, len);
        line.0.extend(self.extra.iter().map(OsString::from));
        line.0
    }

    fn processors(&self, line: &mut Line) {
        let mut machine = match self.transport {
            Transport::Doorbell { .. } => "q35",
            _ => "pc",
        }
        .to_owned();
        machine.push_str(",dump-guest-core=off");
        let accelerator = match self.accelerator {
            Accelerator::Tcg => "-accel tcg,thread=multi",
            Accelerator::Kvm => {
                if let Transport::Doorbell { .. } = self.transport {
                    // QEMU must handle interrupts that are remapped.
                    machine.push_str(",kernel-irqchip=split");
                }
                "-accel kvm -cpu host"
            }
        };
        line.pair("-machine", machine);
        line.words(accelerator);
        // C1
        let possible = self.vcpus.max(2);
        line.pair("-smp", format!("{},maxcpus={possible}", self.vcpus));
    }

    fn memory(&self, line: &mut Line, len: u64) {
        let own = self.memory_mib;
        line.pair(
            "-m",
            match self.transport {
                Transport::Reserved => {
                    let all = u64::from(own) + len.div_ceil(1 << 20);
                    format!("{own}M,slots=1,maxmem={all}M")
                }
                _ => format!("{own}M"),
            },
        );
    }

    fn region(&self, line: &mut Line, len: u64) {
        let server = match &self.transport {
            Transport::Doorbell { server } => Some(server),
            _ => None,
        };
        if let Some(server) = server {
            // Before every other device, since it translates for them.
            line.words("-device intel-iommu,intremap=on");
            let mut door = OsString::from("socket,id=door,path=");
            door.push(escaped(server.as_os_str()));
            line.pair("-chardev", door);
            line.pair(
                "-device",
                format!("ivshmem-doorbell,chardev=door,vectors={VECTORS}"),
            );
            return;
        }
        line.pair(
            "-object",
            format!(
                "memory-backend-file,id=region,share=on,mem-path=/proc/self/fd/{REGION},size={len}"
            ),
        );
        line.pair(
            "-device",
            match self.transport {
                Transport::Reserved => format!("pc-dimm,memdev=region,addr={RESERVED_AT:#x}"),
                _ => "ivshmem-plain,memdev=region".to_owned(),
            },
        );
    }

    fn boot(&self, line: &mut Line, len: u64) {
        match &self.boot {
            Boot::Kernel { kernel, initrd } => {
                line.pair("-kernel", kernel);
                if let Some(initrd) = initrd {
                    line.pair("-initrd", initrd);
                }
                line.pair("-append", self.parameters(len));
            }
            Boot::Disk(disk) => {
                let mut drive = OsString::from("if=none,id=disk,format=");
                drive.push(disk_format(disk));
                drive.push(",file=");
                drive.push(escaped(disk.as_os_str()));
                line.pair("-drive", drive);
                line.words("-device virtio-blk-pci,drive=disk");
            }
        }
    }

    /// Returns the kernel's parameters. Later ones override earlier ones.
    fn parameters(&self, len: u64) -> String {
        // No check of the timer: it fails on a busy host, and the kernel panics.
        let mut words = vec!["panic=-1 no_timer_check".to_owned()];
        if self.accelerator == Accelerator::Tcg {
            // The host's counter. Otherwise a guest reads its clock from an emulated device, which
            // is many times slower.
            words.push("tsc=reliable".to_owned());
        }
        if is_host_name(&self.name) {
            words.push(format!("hostname={}", self.name));
        }
        match self.transport {
            Transport::Ivshmem => {}
            Transport::Reserved => words.push(format!(
                "swiotlb=noforce acpi_no_memhotplug shmr.region=mem:{RESERVED_AT:#x}+{len:#x}"
            )),
            Transport::Doorbell { .. } => words.push("intel_iommu=on".to_owned()),
        }
        if !self.append.is_empty() {
            words.push(self.append.clone());
        }
        words.join(" ")
    }
}

struct Line(Vec<OsString>);

impl Line {
    /// Adds the words of a literal.
    fn words(&mut self, words: &str) {
        self.0.extend(words.split_whitespace().map(OsString::from));
    }

    fn pair(&mut self, option: &str, value: impl Into<OsString>) {
        self.0.push(option.into());
        self.0.push(value.into());
    }
}

/// Escapes a value for a QEMU option with several values: doubles its commas.
fn escaped(value: &OsStr) -> OsString {
    let mut bytes = Vec::with_capacity(value.len());
    for &byte in value.as_bytes() {
        bytes.push(byte);
        if byte == b',' {
            bytes.push(byte);
        }
    }
    OsString::from_vec(bytes)
}

/// Returns true if the kernel accepts the name as a host name, and cannot misread it.
fn is_host_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    !name.is_empty() && name.chars().all(fits)
}

/// Returns the format by the file's name. A guest could make the content look like another
/// format, which names other files.
fn disk_format(disk: &Path) -> &'static str {
    match disk.extension() {
        Some(end) if end == "qcow2" => "qcow2",
        _ => "raw",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(transport: Transport) -> Plan {
        Plan {
            name: "part2".to_owned(),
            memory_mib: 96,
            vcpus: 1,
            boot: Boot::Kernel {
                kernel: "/k/vmlinuz".into(),
                initrd: Some("/k/initrd".into()),
            },
            transport,
            accelerator: Accelerator::Tcg,
            qmp: "/run/2.qmp".into(),
            program: "qemu-system-x86_64".into(),
            append: "quiet".to_owned(),
            extra: vec!["-snapshot".to_owned()],
        }
    }

    fn line(plan: &Plan) -> String {
        let words = plan.command_line(2 << 20);
        let words: Vec<_> = words.iter().map(|word| word.to_str().unwrap()).collect();
        words.join(" ")
    }

    #[track_caller]
    fn has(plan: &Plan, part: &str) {
        let line = line(plan);
        assert!(line.contains(part), "no {part:?} in {line}");
    }

    #[test]
    fn more_than_one_processor_is_always_possible() {
        let mut plan = plan(Transport::Ivshmem);
        has(&plan, "-accel tcg,thread=multi -smp 1,maxcpus=2 ");
        plan.vcpus = 3;
        has(&plan, "-smp 3,maxcpus=3 ");
    }

    #[test]
    fn a_name_cannot_add_a_parameter() {
        let mut plan = plan(Transport::Ivshmem);
        plan.name = "part2 init=/bin/sh,x".to_owned();
        has(&plan, "-name part2 init=/bin/sh,,x ");
        assert!(!line(&plan).contains("hostname"));
    }

    #[test]
    fn a_plain_device_maps_the_inherited_region() {
        let plan = plan(Transport::Ivshmem);
        has(&plan, "share=on,mem-path=/proc/self/fd/3,size=2097152");
        has(&plan, "-device ivshmem-plain,memdev=region");
        has(&plan, "-m 96M ");
        has(
            &plan,
            "-append panic=-1 no_timer_check tsc=reliable hostname=part2 quiet -snapshot",
        );
    }

    #[test]
    fn reserved_memory_is_at_4_gib_and_a_kernel_parameter_says_so() {
        let plan = plan(Transport::Reserved);
        has(&plan, "-m 96M,slots=1,maxmem=98M");
        has(&plan, "-device pc-dimm,memdev=region,addr=0x100000000");
        has(
            &plan,
            "acpi_no_memhotplug shmr.region=mem:0x100000000+0x200000 quiet",
        );
    }

    #[test]
    fn a_doorbell_device_gets_its_region_from_the_server_and_has_an_iommu() {
        let server = "/run/a,b".into();
        let plan = plan(Transport::Doorbell { server });
        has(&plan, "-machine q35");
        has(
            &plan,
            "path=/run/a,,b -device ivshmem-doorbell,chardev=door",
        );
        has(&plan, "intel_iommu=on");
        assert!(!line(&plan).contains("memory-backend-file"));
    }

    #[test]
    fn the_name_of_a_disk_decides_its_format() {
        let mut plan = plan(Transport::Ivshmem);
        plan.boot = Boot::Disk("/d/a.qcow2".into());
        has(&plan, "format=qcow2,file=/d/a.qcow2");
        plan.boot = Boot::Disk("/d/a.img".into());
        has(&plan, "format=raw,file=/d/a.img");
        assert!(!line(&plan).contains("-append"));
    }
}
