//! The loop of a script's commands.
//!
//! Standard output has only the commands' output. A failed command is reported on standard error,
//! and makes the exit status 1. A script ends only what it has started.

use std::io::BufReader;
use std::process::ExitCode;

use super::ends::halt;
use crate::api::Fate;
use crate::client::Followed;
use crate::commands::{Next, Session};
use crate::script::{Front, Reported, Script, print_error};

/// Runs commands from standard input until its end. `failed` is true if something has already
/// failed, `owns_server` if this process has started the server.
pub(crate) fn run(
    mut session: Session,
    followed: &Followed,
    mut failed: bool,
    owns_server: bool,
) -> anyhow::Result<ExitCode> {
    let mut front = Front::Script(Script::new(BufReader::new(std::io::stdin())));
    let mut end = Next::Quit;
    while let Some(line) = front.next_line() {
        let line = line.as_deref().map(str::trim);
        let done = match line {
            Ok(line) if line.is_empty() || line.starts_with('#') => continue,
            Ok(line) => session.run_line(line, &mut front),
            Err(error) => Err(anyhow::anyhow!("{error:#}")),
        };
        match done {
            Ok(Next::Continue) => {}
            Ok(next) => {
                end = next;
                break;
            }
            Err(error) => {
                failed = true;
                report_failure(&error, line.unwrap_or_default(), &mut front);
            }
        }
        if session.interrupt.is_set() {
            break;
        }
    }
    let is_interrupted = session.interrupt.is_set();
    session.interrupt.clear();
    followed.catch_up(&session.client);
    finish(&session, end, owns_server)?;
    Ok(match is_interrupted {
        true => ExitCode::from(130),
        false => ExitCode::from(u8::from(failed)),
    })
}

/// Ends what the script has started, unless `end` says otherwise.
fn finish(session: &Session, end: Next, owns_server: bool) -> anyhow::Result<()> {
    let client = &session.client;
    match end {
        Next::Leave => Ok(()),
        Next::QuitAll => client.shut_down(Fate::Halt),
        _ if owns_server => client.shut_down(Fate::Halt),
        _ => {
            let mut loaded = session.loaded.iter();
            loaded.try_for_each(|&number| halt(client, number))
        }
    }
}

fn report_failure(error: &anyhow::Error, line: &str, front: &mut Front) {
    if error.downcast_ref::<Reported>().is_some() {
        return;
    }
    print_error(&format!("{error:#}"));
    if let Front::Script(script) = front
        && line.split_whitespace().next() == Some("kmconsole")
    {
        match script.skip_console() {
            0 => {}
            n => print_error(&format!(
                "kmconsole: {n} lines up to kmexitconsole were skipped; they were for the instance"
            )),
        }
    }
}
