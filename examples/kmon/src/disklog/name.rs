//! Which log: that of an instance's output, of its kernel, or KMON's own.

/// Names a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LogName {
    /// KMON's notices.
    Kmon,
    /// The output of an instance.
    Output(u8),
    /// The log of an instance's kernel.
    Kernel(u8),
}

impl LogName {
    /// Returns the name of its current file.
    pub(super) fn stem(self) -> String {
        match self {
            Self::Kmon => "kmon.log".into(),
            Self::Output(number) => format!("{number}.log"),
            Self::Kernel(number) => format!("{number}.kernel.log"),
        }
    }

    pub(super) fn what(self) -> &'static str {
        match self {
            Self::Kmon => "notices",
            Self::Output(_) => "output",
            Self::Kernel(_) => "kernel",
        }
    }

    /// Returns true if it is a log of instance `number`.
    pub(super) fn is_of(self, number: u8) -> bool {
        matches!(self, Self::Output(of) | Self::Kernel(of) if of == number)
    }
}
