//! The names of terminals and spans.

/// Names of the terminals, in the order of the output.
pub(crate) const POLLED: &str = "rings, polled";
pub(crate) const DOORBELL: &str = "rings, doorbell";
pub(crate) const SERIAL: &str = "ttyS0";
pub(crate) const VIRTIO: &str = "hvc0";
/// Names of the spans: all processes stopped; or one daemon or the serial port's reader runs.
pub(crate) const NOTHING: &str = "nothing";
pub(crate) const SLOW: &str = "statistics every 3 s";
pub(crate) const FAST: &str = "statistics every 100 ms";
