//! Reads what this machine consists of.

use std::collections::BTreeMap;
use std::fs;

use anyhow::Context;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use procfs::Current;

use crate::api::system::{MachineInterface, MachineMemory, Processors, SystemInfo};

/// Reads what this machine consists of.
pub(crate) fn read() -> anyhow::Result<SystemInfo> {
    let system = nix::sys::utsname::uname().context("uname")?;
    let word = |text: &std::ffi::OsStr| text.to_string_lossy().into_owned();
    Ok(SystemInfo {
        hostname: word(system.nodename()),
        kernel: format!("{} {}", word(system.sysname()), word(system.release())),
        cpus: cpus()?,
        memory: memory()?,
        interfaces: interfaces()?,
    })
}

fn cpus() -> anyhow::Result<Processors> {
    let info = procfs::CpuInfo::current().context("/proc/cpuinfo")?;
    let count = info.num_cores();
    let mhz = |cpu| info.get_field(cpu, "cpu MHz")?.parse().ok();
    Ok(Processors {
        count,
        model: info.model_name(0).map(str::to_owned),
        mhz: (0..count).filter_map(mhz).collect(),
    })
}

fn memory() -> anyhow::Result<MachineMemory> {
    let info = procfs::Meminfo::current().context("/proc/meminfo")?;
    Ok(MachineMemory {
        total_kb: info.mem_total / 1024,
        free_kb: info.mem_free / 1024,
        available_kb: info.mem_available.map(|bytes| bytes / 1024),
    })
}

fn interfaces() -> anyhow::Result<Vec<MachineInterface>> {
    let mut found = BTreeMap::<String, MachineInterface>::new();
    for address in getifaddrs().context("network interfaces")? {
        let name = &address.interface_name;
        let interface = found.entry(name.clone()).or_default();
        interface.name = name.clone();
        let up = address.flags.contains(InterfaceFlags::IFF_UP);
        interface.state = if up { "up" } else { "down" }.to_owned();
        let mtu = fs::read_to_string(format!("/sys/class/net/{name}/mtu"));
        interface.mtu = mtu.ok().and_then(|mtu| mtu.trim().parse().ok());
        let Some(socket) = address.address else {
            continue;
        };
        if let Some(v4) = socket.as_sockaddr_in() {
            interface.addresses.push(v4.ip().to_string());
        } else if let Some(v6) = socket.as_sockaddr_in6() {
            interface.addresses.push(v6.ip().to_string());
        } else if let Some(bytes) = socket.as_link_addr().and_then(|link| link.addr()) {
            let bytes = bytes.map(|byte| format!("{byte:02x}"));
            interface.mac = Some(bytes.join(":"));
        }
    }
    Ok(found.into_values().collect())
}
