//! One command of a shell.

use std::process::ExitCode;

use crate::api::Fate;
use crate::commands::{CommandFailed, Next, Session, UsageError};
use crate::script::{Front, Reported, print_error};
use crate::terminal;

/// Runs the command that `words` name. Returns its exit status.
pub(crate) fn run(mut session: Session, mut front: Front, words: Vec<String>) -> ExitCode {
    let done = session.run_words(words, &mut front);
    let done = done.and_then(|next| match next {
        Next::QuitAll => session.client.shut_down(Fate::Halt),
        _ => Ok(()),
    });
    terminal::restore();
    let Err(error) = done else {
        return match session.interrupt.is_set() {
            true => ExitCode::from(130),
            false => ExitCode::SUCCESS,
        };
    };
    let failed = error.downcast_ref::<CommandFailed>();
    // The status of the command says it all, as with ssh.
    if !failed.is_some_and(|failed| failed.has_exited) && !error.is::<Reported>() {
        print_error(&format!("kmon: {error:#}"));
    }
    ExitCode::from(match failed {
        Some(failed) => failed.status,
        None if error.is::<UsageError>() => 2,
        None if session.interrupt.is_set() => 130,
        None => 1,
    })
}
