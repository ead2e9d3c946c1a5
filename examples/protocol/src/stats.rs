//! The statistics that an instance publishes. They are raw counters, so that the reader can compute
//! rates over any interval.

use crate::wire::{Malformed, Reader, put_text};

/// Bytes of the longest host name and kernel name.
const MAX_NAME: usize = 64;
/// Bytes of the longest name of an interface.
const MAX_INTERFACE_NAME: usize = 16;

/// Time a CPU has spent, in clock ticks since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuTime {
    /// Ticks in which it was busy.
    pub busy: u64,
    /// All ticks.
    pub total: u64,
}

impl CpuTime {
    /// Returns the percentage of busy ticks since `earlier`; 0 if no tick has passed.
    pub fn percent_since(self, earlier: Self) -> f64 {
        let total = self.total.saturating_sub(earlier.total);
        let busy = self.busy.saturating_sub(earlier.busy).min(total);
        if total == 0 {
            return 0.0;
        }
        busy as f64 * 100.0 / total as f64
    }
}

/// Counters of one network interface since it came up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    pub name: String,
    pub rx_bytes: u64,
    pub rx_packets: u64,
    pub tx_bytes: u64,
    pub tx_packets: u64,
}

/// One reading of an instance's `/proc`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// The instance's monotonic clock at the reading, nanoseconds.
    pub taken_ns: u64,
    /// Milliseconds since the instance booted.
    pub uptime_ms: u64,
    /// Load averages over 1, 5 and 15 minutes, in hundredths.
    pub load: [u32; 3],
    pub memory_total_kb: u64,
    pub memory_free_kb: u64,
    pub memory_available_kb: u64,
    /// Bytes of output dropped because KMON did not receive them.
    pub dropped_bytes: u64,
    /// All CPUs together.
    pub cpu: CpuTime,
    /// Each CPU; at most [`Stats::MAX_CPUS`].
    pub cpus: Vec<CpuTime>,
    /// Each network interface; at most [`Stats::MAX_INTERFACES`].
    pub interfaces: Vec<Interface>,
    pub hostname: String,
    pub kernel: String,
}

impl Stats {
    /// The most CPUs in a snapshot; more are left out.
    pub const MAX_CPUS: usize = 256;
    /// The most interfaces in a snapshot; more are left out.
    pub const MAX_INTERFACES: usize = 64;
    /// Length of the longest encoding.
    pub const MAX_LEN: usize = 128 + 2 * 66 + 16 * Self::MAX_CPUS + 64 * Self::MAX_INTERFACES;

    /// Replaces the content of `out` by the reading, in at most [`Stats::MAX_LEN`] bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        let cpus = &self.cpus[..self.cpus.len().min(Self::MAX_CPUS)];
        let interfaces = &self.interfaces[..self.interfaces.len().min(Self::MAX_INTERFACES)];
        put_u64s(out, &[self.taken_ns, self.uptime_ms]);
        for load in self.load {
            out.extend_from_slice(&load.to_le_bytes());
        }
        put_u64s(
            out,
            &[
                self.memory_total_kb,
                self.memory_free_kb,
                self.memory_available_kb,
                self.dropped_bytes,
                self.cpu.busy,
                self.cpu.total,
            ],
        );
        put_text(out, cut(&self.hostname, MAX_NAME));
        put_text(out, cut(&self.kernel, MAX_NAME));
        out.extend_from_slice(&(cpus.len() as u16).to_le_bytes());
        out.extend_from_slice(&(interfaces.len() as u16).to_le_bytes());
        for cpu in cpus {
            put_u64s(out, &[cpu.busy, cpu.total]);
        }
        for interface in interfaces {
            put_text(out, cut(&interface.name, MAX_INTERFACE_NAME));
            put_u64s(
                out,
                &[
                    interface.rx_bytes,
                    interface.rx_packets,
                    interface.tx_bytes,
                    interface.tx_packets,
                ],
            );
        }
    }

    /// Decodes a reading.
    ///
    /// # Errors
    /// [`Malformed`] if the bytes end early or exceed a limit.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new("statistics", bytes);
        let mut stats = Self {
            taken_ns: reader.u64()?,
            uptime_ms: reader.u64()?,
            load: [reader.u32()?, reader.u32()?, reader.u32()?],
            memory_total_kb: reader.u64()?,
            memory_free_kb: reader.u64()?,
            memory_available_kb: reader.u64()?,
            dropped_bytes: reader.u64()?,
            cpu: decode_cpu(&mut reader)?,
            hostname: reader.text_up_to(MAX_NAME)?,
            kernel: reader.text_up_to(MAX_NAME)?,
            ..Self::default()
        };
        let cpus = usize::from(reader.u16()?);
        let interfaces = usize::from(reader.u16()?);
        if cpus > Self::MAX_CPUS || interfaces > Self::MAX_INTERFACES {
            return Err(reader.malformed());
        }
        for _ in 0..cpus {
            stats.cpus.push(decode_cpu(&mut reader)?);
        }
        for _ in 0..interfaces {
            stats.interfaces.push(Interface {
                name: reader.text_up_to(MAX_INTERFACE_NAME)?,
                rx_bytes: reader.u64()?,
                rx_packets: reader.u64()?,
                tx_bytes: reader.u64()?,
                tx_packets: reader.u64()?,
            });
        }
        Ok(stats)
    }
}

fn decode_cpu(reader: &mut Reader<'_>) -> Result<CpuTime, Malformed> {
    Ok(CpuTime {
        busy: reader.u64()?,
        total: reader.u64()?,
    })
}

fn put_u64s(out: &mut Vec<u8>, values: &[u64]) {
    for value in values {
        out.extend_from_slice(&value.to_le_bytes());
    }
}

fn cut(text: &str, len: usize) -> &[u8] {
    &text.as_bytes()[..text.len().min(len)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Stats {
        Stats {
            taken_ns: u64::MAX,
            load: [1, 2, 3],
            cpus: vec![CpuTime { busy: 1, total: 2 }; Stats::MAX_CPUS],
            interfaces: vec![
                Interface {
                    name: "x".repeat(16),
                    rx_bytes: 5,
                    ..Interface::default()
                };
                Stats::MAX_INTERFACES
            ],
            hostname: "h".repeat(64),
            kernel: "k".repeat(64),
            ..Stats::default()
        }
    }

    #[test]
    fn the_largest_reading_fits_and_is_decoded_as_it_was_encoded() {
        let mut bytes = Vec::new();
        full().encode(&mut bytes);
        assert!(bytes.len() <= Stats::MAX_LEN, "{}", bytes.len());
        assert_eq!(Stats::decode(&bytes), Ok(full()));
    }

    #[test]
    fn a_truncated_reading_is_malformed() {
        let mut bytes = Vec::new();
        full().encode(&mut bytes);
        for len in 0..bytes.len() {
            assert!(Stats::decode(&bytes[..len]).is_err());
        }
    }

    #[test]
    fn a_name_that_is_too_long_is_malformed() {
        let mut bytes = Vec::new();
        full().encode(&mut bytes);
        let name = bytes.windows(16).rposition(|window| window == [b'x'; 16]);
        let at = name.unwrap() - 2;
        bytes[at..at + 2].copy_from_slice(&1000_u16.to_le_bytes());
        bytes.resize(bytes.len() + 1000, b'x');
        assert!(Stats::decode(&bytes).is_err());
    }

    #[test]
    fn a_counter_that_goes_back_gives_no_negative_rate() {
        let later = CpuTime { busy: 1, total: 10 };
        let earlier = CpuTime { busy: 9, total: 20 };
        assert_eq!(later.percent_since(earlier), 0.0);
    }
}
