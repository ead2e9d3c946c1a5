//! Instances as the API shows them.

use kmon_protocol::link::{Finding, Verdict};

use crate::api::instances::{MemoryVerdict, Row};
use crate::api::reading::InstanceReadings;
use crate::instance::state::State;
use crate::monitor::Instance;

pub(super) fn row(instance: &Instance) -> Row {
    let settings = instance.settings();
    let view = instance.shared.lock();
    let alive = view.state.is_alive();
    // The last reading of an instance that is not running is out of date.
    let stats = view.stats.as_ref().filter(|_| view.state == State::Running);
    let percent = view.earlier_stats.as_ref().zip(stats);
    let percent = percent.map(|(earlier, now)| now.cpu.percent_since(earlier.cpu));
    let memory = view.memory.as_ref().filter(|_| alive);
    Row {
        number: instance.number,
        name: settings.name,
        kind: settings.kind.word().into(),
        transport: settings.kind.transport().map(|one| one.to_string()),
        region: settings.kind.region().map(ToString::to_string),
        memory: memory.map(memory_verdict),
        state: view.state.word().into(),
        detail: view.state.detail(),
        pid: view.pid.filter(|_| alive),
        uptime_s: alive.then(|| view.started.elapsed().as_secs()),
        // Two digits, as in the paper.
        cpu_percent: percent.map(|percent| (percent * 100.0).round() / 100.0),
        memory_used_kb: stats.map(|stats| {
            let available = stats.memory_available_kb;
            stats.memory_total_kb.saturating_sub(available)
        }),
        memory_total_kb: stats.map(|stats| stats.memory_total_kb),
        unseen_bytes: view.log.unseen(),
        kernel_unseen_bytes: view.kernel_log.unseen(),
        dropped_bytes: view.log.dropped(),
        incarnation: Some(view.log.incarnation()).filter(|&incarnation| alive && incarnation > 0),
        discarded_commands: view.log.discarded(),
    }
}

fn memory_verdict(verdict: &Verdict) -> MemoryVerdict {
    let word = |finding| match finding {
        Finding::Works => "works".into(),
        Finding::Broken { .. } => "broken".into(),
        Finding::Unknown => "unknown".into(),
    };
    MemoryVerdict {
        read_modify_write: word(verdict.read_modify_write),
        fences: word(verdict.fences),
    }
}

pub(super) fn readings(instance: &Instance) -> InstanceReadings {
    let name = instance.settings().name;
    let view = instance.shared.lock();
    let is_running = view.state == State::Running;
    InstanceReadings {
        number: instance.number,
        name,
        state: view.state.word().into(),
        detail: view.state.detail(),
        dropped_bytes: view.log.dropped(),
        reading: view.stats.as_ref().filter(|_| is_running).map(Into::into),
        earlier: view.earlier_stats.as_ref().map(Into::into),
    }
}
