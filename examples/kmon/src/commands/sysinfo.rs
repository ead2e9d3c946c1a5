//! `kmsysinfo`: shows the machine on which KMON runs.

use std::fmt::Write;

use super::arguments::JsonArgs;
use super::print::{print, print_json};
use super::session::Session;
use crate::api::system::SystemInfo;
use crate::text;

pub(super) fn run(session: &Session, args: &JsonArgs) -> anyhow::Result<()> {
    let info: SystemInfo = session.client.get("/v1/system")?;
    if args.json {
        return print_json(&info);
    }
    print(&describe(&info)?)
}

fn describe(info: &SystemInfo) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    writeln!(out, "HOST    {}, {}", info.hostname, info.kernel)?;
    let model = info.cpus.model.as_deref().unwrap_or("(unknown model)");
    write!(out, "CPU     {} x {model}", info.cpus.count)?;
    let fastest = info.cpus.mhz.iter().copied().reduce(f64::max);
    if let Some(mhz) = fastest {
        write!(out, ", {mhz:.0} MHz")?;
    }
    let size = |kb: u64| text::bytes(kb.saturating_mul(1024));
    let memory = &info.memory;
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
    for interface in &info.interfaces {
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
