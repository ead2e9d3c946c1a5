//! What the logs on disk are written from: the kept output and the kept log of the kernel.

use std::sync::Arc;

use super::log::OutputLog;
use super::shared::{Shared, View};
use crate::disklog::{Extent, Source};

/// The output of an instance.
pub(crate) struct Output(pub(crate) Arc<Shared>);

/// The log of its kernel.
pub(crate) struct Kernel(pub(crate) Arc<Shared>);

impl Source for Output {
    fn id(&self) -> u64 {
        self.0.lock().log.id()
    }

    fn extent(&self) -> Extent {
        extent(&self.0.lock().log)
    }

    fn read(&self, position: u64, max: usize) -> (u64, Vec<u8>) {
        read(&self.0, position, max, |view| &view.log)
    }
}

impl Source for Kernel {
    fn id(&self) -> u64 {
        self.0.lock().kernel_log.id()
    }

    fn extent(&self) -> Extent {
        extent(&self.0.lock().kernel_log)
    }

    fn read(&self, position: u64, max: usize) -> (u64, Vec<u8>) {
        read(&self.0, position, max, |view| &view.kernel_log)
    }
}

fn extent(log: &OutputLog) -> Extent {
    Extent {
        start: log.start(),
        end: log.end(),
        dropped: log.dropped_by_guestd(),
    }
}

fn read(
    shared: &Shared,
    position: u64,
    max: usize,
    log: impl Fn(&View) -> &OutputLog,
) -> (u64, Vec<u8>) {
    log(&shared.lock()).read(position, max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disklog::{Body, Bound, DiskLogs, LogName, Query, Settings, has_written};

    #[test]
    fn output_and_the_kernels_log_are_written_to_logs_of_their_own() {
        let home = tempfile::tempdir().unwrap();
        let settings = Settings {
            directory: home.path().join("a/b"),
            bound: Bound {
                size: 1 << 20,
                count: 3,
                compress: true,
            },
        };
        let logs = DiskLogs::start(settings, |line| panic!("{line}")).unwrap();
        let shared = Arc::new(Shared::new(
            OutputLog::in_memory(4096),
            OutputLog::in_memory(4096),
        ));
        let (output, kernel) = (LogName::Output(5), LogName::Kernel(5));
        shared.write_to(
            logs.add(output, "instance 5 (a)", Arc::new(Output(shared.clone()))),
            logs.add(kernel, "instance 5 (a)", Arc::new(Kernel(shared.clone()))),
        );
        shared.lock().log.append(b"a console\r\n");
        shared.lock().kernel_log.append(b"[    0.000000] Linux\n");
        let mut news = logs.subscribe();
        shared.note_output();
        shared.note_kernel();
        assert!(has_written(&mut news));
        assert!(logs.flush());
        for (name, text) in [(output, "a console"), (kernel, "[    0.000000] Linux")] {
            let entry = logs
                .entries(name, Query::default())
                .next()
                .unwrap()
                .unwrap();
            assert_eq!(entry.body, Body::Line(text.into()));
        }
        let file = std::fs::read_to_string(home.path().join("a/b/5.kernel.log")).unwrap();
        assert!(file.contains(", kernel ") && file.ends_with("Z : [    0.000000] Linux\n"));
    }
}
