//! `kmsysinfo`: shows the machine on which KMON runs.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;

use anyhow::Context;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use procfs::Current;
use serde::Serialize;

use super::line::JsonArgs;
use super::print::{print, print_json};
use crate::text;

#[derive(Serialize)]
struct SystemInfo {
    hostname: String,
    kernel: String,
    cpus: Cpus,
    memory: Memory,
    interfaces: Vec<Interface>,
}

#[derive(Serialize)]
struct Cpus {
    count: usize,
    model: Option<String>,
    mhz: Vec<f64>,
}

#[derive(Serialize)]
struct Memory {
    total_kb: u64,
    free_kb: u64,
    available_kb: Option<u64>,
}

#[derive(Default, Serialize)]
struct Interface {
    name: String,
    state: &'static str,
    mac: Option<String>,
    mtu: Option<u32>,
    addresses: Vec<String>,
}

pub(super) fn run(args: &JsonArgs) -> anyhow::Result<()> {
    let info = SystemInfo::read()?;
    if args.json {
        return print_json(&info);
    }
    print(&info.text()?)
}

impl SystemInfo {
    fn read() -> anyhow::Result<Self> {
        let system = nix::sys::utsname::uname().context("uname")?;
        let word = |text: &std::ffi::OsStr| text.to_string_lossy().into_owned();
        Ok(Self {
            hostname: word(system.nodename()),
            kernel: format!("{} {}", word(system.sysname()), word(system.release())),
            cpus: cpus()?,
            memory: memory()?,
            interfaces: interfaces()?,
        })
    }

    fn text(&self) -> Result<String, std::fmt::Error> {
        let mut out = String::new();
        writeln!(out, "HOST    {}, {}", self.hostname, self.kernel)?;
        let model = self.cpus.model.as_deref().unwrap_or("(unknown model)");
        write!(out, "CPU     {} x {model}", self.cpus.count)?;
        let fastest = self.cpus.mhz.iter().copied().reduce(f64::max);
        if let Some(mhz) = fastest {
            write!(out, ", {mhz:.0} MHz")?;
        }
        let size = |kb: u64| text::bytes(kb.saturating_mul(1024));
        let memory = &self.memory;
        write!(
            out,
            "\nMEM     {} total, {} free",
            size(memory.total_kb),
            size(memory.free_kb)
        )?;
        if let Some(available) = memory.available_kb {
            write!(out, ", {} available", size(available))?;
        }
        writeln!(out)?;
        for interface in &self.interfaces {
            write!(out, "NET     {} {}", interface.name, interface.state)?;
            if let Some(mac) = &interface.mac {
                write!(out, ", mac {mac}")?;
            }
            if let Some(mtu) = interface.mtu {
                write!(out, ", mtu {mtu}")?;
            }
            for address in &interface.addresses {
                write!(out, ", {address}")?;
            }
            writeln!(out)?;
        }
        Ok(out)
    }
}

fn cpus() -> anyhow::Result<Cpus> {
    let info = procfs::CpuInfo::current().context("/proc/cpuinfo")?;
    let count = info.num_cores();
    let mhz = |cpu| info.get_field(cpu, "cpu MHz")?.parse().ok();
    Ok(Cpus {
        count,
        model: info.model_name(0).map(str::to_owned),
        mhz: (0..count).filter_map(mhz).collect(),
    })
}

fn memory() -> anyhow::Result<Memory> {
    let info = procfs::Meminfo::current().context("/proc/meminfo")?;
    Ok(Memory {
        total_kb: info.mem_total / 1024,
        free_kb: info.mem_free / 1024,
        available_kb: info.mem_available.map(|bytes| bytes / 1024),
    })
}

fn interfaces() -> anyhow::Result<Vec<Interface>> {
    let mut found = BTreeMap::<String, Interface>::new();
    for address in getifaddrs().context("network interfaces")? {
        let name = &address.interface_name;
        let interface = found.entry(name.clone()).or_default();
        interface.name = name.clone();
        let up = address.flags.contains(InterfaceFlags::IFF_UP);
        interface.state = if up { "up" } else { "down" };
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
