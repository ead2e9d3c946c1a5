//! The task of a process that the harness starts.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// The name of the hidden command; its argument is a [`Task`].
pub(crate) const COMMAND: &str = "victim";

/// How other partitions detect a death.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub(crate) enum Detection {
    /// By the kernel, at once
    Pidfd,
    /// By a heartbeat that stands still
    Heartbeat,
}

/// The work of a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Task {
    pub(super) scenario: String,
    pub(super) shape: u32,
    pub(super) slot: usize,
    pub(super) role: usize,
    pub(super) partition: u8,
    pub(super) seed: u64,
    pub(super) detection: Detection,
    /// The harness, which is to outlive the process.
    pub(super) parent: u32,
    /// The store before which it dies.
    pub(super) armed: Option<u64>,
}

impl Task {
    /// The argument for the command line.
    pub(super) fn word(&self) -> String {
        serde_json::json!(self).to_string()
    }
}

/// Work on the memory of standard input until killed.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[arg(value_parser = read)]
    pub(super) task: Task,
}

fn read(word: &str) -> serde_json::Result<Task> {
    serde_json::from_str(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_reads_the_task_that_the_harness_wrote() {
        for (detection, armed) in [(Detection::Pidfd, None), (Detection::Heartbeat, Some(77))] {
            let task = Task {
                scenario: "mutex".to_owned(),
                shape: 1,
                slot: 2,
                role: 3,
                partition: 4,
                seed: u64::MAX,
                detection,
                parent: 5,
                armed,
            };
            assert_eq!(read(&task.word()).unwrap(), task);
        }
    }
}
