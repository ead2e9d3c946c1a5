//! What the kernel tells of the machine in `/proc`, read often and at little cost.
//!
//! A file is opened once and read from its beginning each time, into memory that stays; of its
//! text only what is wanted is looked at.

use std::fs::File;
use std::os::unix::fs::FileExt;

use kmon_protocol::Stats;
use kmon_protocol::stats::{CpuTime, Interface};

/// Bytes that a file has at first; a machine of many processors has longer ones.
const FIRST: usize = 8 << 10;
/// Longer texts are cut.
const MOST: usize = 1 << 20;

/// One file.
struct Source {
    path: &'static str,
    /// Nothing until it can be opened.
    file: Option<File>,
    text: Vec<u8>,
}

/// All files that a reading needs.
pub(crate) struct Sources {
    stat: Source,
    meminfo: Source,
    loadavg: Source,
    interfaces: Source,
}

impl Sources {
    /// Those of this machine.
    pub(crate) fn of_machine() -> Self {
        Self {
            stat: Source::at("/proc/stat"),
            meminfo: Source::at("/proc/meminfo"),
            loadavg: Source::at("/proc/loadavg"),
            interfaces: Source::at("/proc/self/net/dev"),
        }
    }

    /// Sets what they tell now. What the kernel does not tell stays zero.
    pub(crate) fn read(&mut self, stats: &mut Stats) {
        read_stat(self.stat.read(), stats);
        read_meminfo(self.meminfo.read(), stats);
        read_loadavg(self.loadavg.read(), stats);
        stats.interfaces = interfaces(self.interfaces.read());
    }
}

impl Source {
    fn at(path: &'static str) -> Self {
        Self {
            path,
            file: None,
            text: vec![0; FIRST],
        }
    }

    /// Its text now; nothing if it cannot be read.
    fn read(&mut self) -> &str {
        if self.file.is_none() {
            self.file = File::open(self.path).ok();
        }
        let file = self.file.as_ref();
        let len = file.map_or(0, |file| fill(file, &mut self.text));
        std::str::from_utf8(&self.text[..len]).unwrap_or_default()
    }
}

/// Reads `file` from its beginning into `text`, which is made longer if it has to be; how many
/// bytes there are.
fn fill(file: &File, text: &mut Vec<u8>) -> usize {
    let mut len = 0;
    loop {
        match file.read_at(&mut text[len..], len as u64) {
            Ok(more @ 1..) => len += more,
            Ok(0) | Err(_) => return len,
        }
        if len == text.len() && len < MOST {
            text.resize(len * 2, 0);
        }
    }
}

/// The numbers of a line, as many as there are in front of what is none.
fn numbers(line: &str) -> impl Iterator<Item = u64> {
    line.split_ascii_whitespace()
        .map_while(|word| word.parse().ok())
}

fn read_stat(text: &str, stats: &mut Stats) {
    // The processors come first: what is behind them is longer, and not wanted.
    for line in text.lines() {
        let Some((name, counts)) = line
            .strip_prefix("cpu")
            .and_then(|line| line.split_once(' '))
        else {
            return;
        };
        let time = cpu_time(counts);
        if name.is_empty() {
            stats.cpu = time;
        } else if stats.cpus.len() < Stats::MAX_CPUS {
            stats.cpus.push(time);
        }
    }
}

/// Guest time is left out of the sum: the kernel counts it in `user` and `nice` already.
fn cpu_time(counts: &str) -> CpuTime {
    let mut ticks = [0; 8];
    for (tick, count) in ticks.iter_mut().zip(numbers(counts)) {
        *tick = count;
    }
    let [user, nice, system, idle, iowait, irq, softirq, steal] = ticks;
    let busy = [user, nice, system, irq, softirq, steal];
    let busy = busy.into_iter().fold(0, u64::saturating_add);
    CpuTime {
        busy,
        total: busy.saturating_add(idle).saturating_add(iowait),
    }
}

fn read_meminfo(text: &str, stats: &mut Stats) {
    let mut available = None;
    for line in text.lines() {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        let kb = || numbers(value).next().unwrap_or(0);
        match name {
            "MemTotal" => stats.memory_total_kb = kb(),
            "MemFree" => stats.memory_free_kb = kb(),
            "MemAvailable" => available = Some(kb()),
            // Where the kernel has all three, they are the first.
            _ if available.is_some() => break,
            _ => {}
        }
    }
    // Before Linux 3.14 there is no estimate; free memory is the safe one.
    stats.memory_available_kb = available.unwrap_or(stats.memory_free_kb);
}

fn read_loadavg(text: &str, stats: &mut Stats) {
    let words = text.split_ascii_whitespace();
    for (load, word) in stats.load.iter_mut().zip(words) {
        let value: f64 = word.parse().unwrap_or(0.0);
        *load = (value * 100.0).round() as u32;
    }
}

/// By name, so that they keep their places from one reading to the next.
fn interfaces(text: &str) -> Vec<Interface> {
    // Two lines say what the columns are.
    let lines = text.lines().skip(2);
    let mut interfaces: Vec<_> = lines.filter_map(interface).collect();
    interfaces.sort_by(|a, b| a.name.cmp(&b.name));
    interfaces.truncate(Stats::MAX_INTERFACES);
    interfaces
}

fn interface(line: &str) -> Option<Interface> {
    // A name may have colons in it, a count has none.
    let (name, counts) = line.rsplit_once(':')?;
    let mut counts = numbers(counts);
    let (rx_bytes, rx_packets) = (counts.next()?, counts.next()?);
    // Behind the other six of what came in.
    let (tx_bytes, tx_packets) = (counts.nth(6)?, counts.next()?);
    Some(Interface {
        name: name.trim().to_owned(),
        rx_bytes,
        rx_packets,
        tx_bytes,
        tx_packets,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_waiting_for_a_disk_is_not_busy_and_guest_time_counts_once() {
        let mut stats = Stats::default();
        let text = "cpu  1 2 4 100 200 8 16 32 64 128\ncpu0 1 0 0 9\nintr 5 6\ncpu1 7\n";
        read_stat(text, &mut stats);
        let expected = CpuTime {
            busy: 63,
            total: 363,
        };
        assert_eq!(stats.cpu, expected);
        assert_eq!(stats.cpus, [CpuTime { busy: 1, total: 10 }]);
    }

    #[test]
    fn without_an_estimate_free_memory_is_what_is_available() {
        let mut stats = Stats::default();
        read_meminfo(
            "MemTotal: 9 kB\nMemFree:  4 kB\nBuffers: 1 kB\n",
            &mut stats,
        );
        assert_eq!((stats.memory_total_kb, stats.memory_available_kb), (9, 4));
        read_meminfo(
            "MemFree: 4 kB\nMemAvailable: 6 kB\nMemTotal: 1 kB\n",
            &mut stats,
        );
        assert_eq!((stats.memory_total_kb, stats.memory_available_kb), (1, 6));
    }

    #[test]
    fn loads_are_in_hundredths() {
        let mut stats = Stats::default();
        read_loadavg("0.29 12.00 x 2/34 5\n", &mut stats);
        assert_eq!(stats.load, [29, 1200, 0]);
    }

    #[test]
    fn interfaces_are_in_the_order_of_their_names() {
        let text = "Inter-| x\n face |y\n  lo: 1 2 0 0 0 0 0 0 3 4 0 0\n\
                    eth0:1:18446744073709551615 6 0 0 0 0 0 0 7 8 0\nbroken: 1 2\n";
        let found = interfaces(text);
        let names: Vec<_> = found.iter().map(|found| found.name.as_str()).collect();
        assert_eq!(names, ["eth0:1", "lo"]);
        let first = &found[0];
        assert_eq!((first.rx_bytes, first.tx_packets), (u64::MAX, 8));
        let second = &found[1];
        assert_eq!((second.rx_packets, second.tx_bytes), (2, 3));
    }

    #[test]
    fn a_text_longer_than_its_memory_is_read_whole() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&[b'x'; FIRST * 3], 0).unwrap();
        let mut text = vec![0; FIRST];
        for _ in 0..2 {
            assert_eq!(fill(&file, &mut text), FIRST * 3);
        }
    }

    #[test]
    fn a_file_that_is_not_there_tells_nothing() {
        assert_eq!(Source::at("/nowhere").read(), "");
    }
}
