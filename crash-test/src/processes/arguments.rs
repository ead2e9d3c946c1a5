//! What the harness says to a process of its own.

use clap::ValueEnum;

/// The name of the hidden command.
pub(crate) const COMMAND: &str = "victim";

/// How the living learn of a death.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Detection {
    /// From the kernel, at once
    Pidfd,
    /// By a heartbeat that stands still
    Heartbeat,
}

/// Work on the memory behind standard input until killed.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[arg(long)]
    pub(super) scenario: String,
    #[arg(long)]
    pub(super) shape: u32,
    #[arg(long)]
    pub(super) slot: usize,
    #[arg(long)]
    pub(super) role: usize,
    #[arg(long)]
    pub(super) partition: u8,
    #[arg(long)]
    pub(super) seed: u64,
    #[arg(long)]
    pub(super) liveness: Detection,
    /// The process that is to outlive it
    #[arg(long)]
    pub(super) parent: u32,
    /// Die at this store
    #[arg(long)]
    pub(super) armed: Option<u64>,
}

impl Arguments {
    /// The words of the command line.
    pub(super) fn words(&self) -> Vec<String> {
        let liveness = match self.liveness {
            Detection::Pidfd => "pidfd",
            Detection::Heartbeat => "heartbeat",
        };
        let mut words = vec![
            format!("--scenario={}", self.scenario),
            format!("--shape={}", self.shape),
            format!("--slot={}", self.slot),
            format!("--role={}", self.role),
            format!("--partition={}", self.partition),
            format!("--seed={}", self.seed),
            format!("--liveness={liveness}"),
            format!("--parent={}", self.parent),
        ];
        words.extend(self.armed.map(|at| format!("--armed={at}")));
        words
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    #[test]
    fn a_process_reads_what_the_harness_wrote() {
        for (liveness, armed) in [(Detection::Pidfd, None), (Detection::Heartbeat, Some(77))] {
            let written = Arguments {
                scenario: "mutex".to_owned(),
                shape: 1,
                slot: 2,
                role: 3,
                partition: 4,
                seed: u64::MAX,
                liveness,
                parent: 5,
                armed,
            };
            let words = std::iter::once(COMMAND.to_owned()).chain(written.words());
            let read = Line::try_parse_from(words).unwrap().arguments;
            assert_eq!(read.words(), written.words());
            assert_eq!((read.seed, read.armed), (u64::MAX, armed));
        }
    }
}
