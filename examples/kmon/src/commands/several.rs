//! Runs a command for several instances, some at a time.

use std::fmt;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

use super::selection::Target;

/// How many instances a command acts on at the same time.
pub(super) const AT_ONCE: usize = 32;

/// A command that has not succeeded, as an exit status for a shell.
#[derive(Debug)]
pub(crate) struct CommandFailed {
    pub(crate) status: u8,
    pub(super) message: String,
    /// The status says it all.
    pub(crate) has_exited: bool,
}

impl fmt::Display for CommandFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CommandFailed {}

/// Runs `act` for each target, up to `at_once` of them at the same time.
///
/// # Errors
/// That of a target without a label. For others, each error is printed with the label, and the
/// returned one counts them and has the largest status.
pub(super) fn each(
    targets: &[Target],
    at_once: usize,
    act: impl Fn(&Target) -> anyhow::Result<()> + Sync,
) -> anyhow::Result<()> {
    if let [only @ Target { label: None, .. }] = targets {
        return act(only);
    }
    let next = Mutex::new(targets.iter());
    let statuses = Mutex::new(Vec::new());
    // The lock is free while a target is handled.
    let take = || lock(&next).next();
    let work = || {
        while let Some(target) = take() {
            if let Err(error) = act(target) {
                report(target, &error);
                lock(&statuses).push(status(&error));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..at_once.min(targets.len()) {
            scope.spawn(work);
        }
        work();
    });
    let statuses = statuses
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    let Some(&worst) = statuses.iter().max() else {
        return Ok(());
    };
    let message = format!("{} of {} instances failed", statuses.len(), targets.len());
    Err(anyhow::anyhow!(CommandFailed {
        status: worst,
        message,
        has_exited: false,
    }))
}

fn report(target: &Target, error: &anyhow::Error) {
    let label = target.label.as_deref().unwrap_or_default();
    // Without standard error only the status reports it.
    let _ = writeln!(std::io::stderr(), "{label}: {error:#}");
}

fn status(error: &anyhow::Error) -> u8 {
    let failed = error.downcast_ref::<CommandFailed>();
    failed.map_or(1, |failed| failed.status)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_target_is_handled_once_and_the_worst_status_is_returned() {
        let targets: Vec<_> = (2..100)
            .map(|number| Target {
                number,
                label: Some(format!("part{number}")),
            })
            .collect();
        let handled = Mutex::new(BTreeSet::new());
        let error = each(&targets, 8, |target| {
            assert!(lock(&handled).insert(target.number));
            match target.number {
                5 => Err(anyhow::anyhow!("another error")),
                7 | 9 => Err(anyhow::anyhow!(CommandFailed {
                    status: target.number,
                    message: "exit status".into(),
                    has_exited: true,
                })),
                _ => Ok(()),
            }
        })
        .unwrap_err();
        assert_eq!(error.to_string(), "3 of 98 instances failed");
        assert_eq!((status(&error), lock(&handled).len()), (9, 98));
        assert!(each(&targets, 8, |_| Ok(())).is_ok());
        // Two are handled at the same time, or this never ends.
        let both = std::sync::Barrier::new(2);
        let met = each(&targets[..2], 8, |_| {
            both.wait();
            Ok(())
        });
        assert!(met.is_ok());
    }
}
