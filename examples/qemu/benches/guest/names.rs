//! What the ways and the spans are called.

/// Names of the ways, in the order in which they are shown.
pub(crate) const POLLED: &str = "rings, polled";
pub(crate) const RUNG: &str = "rings, doorbell";
pub(crate) const SERIAL: &str = "ttyS0";
pub(crate) const VIRTIO: &str = "hvc0";
/// Names of the spans: all stands still; one daemon, or the serial port's reader, is there.
pub(crate) const NOTHING: &str = "nothing";
pub(crate) const SLOW: &str = "statistics each 3 s";
pub(crate) const FAST: &str = "statistics each 100 ms";
