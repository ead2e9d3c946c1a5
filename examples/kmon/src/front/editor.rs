//! The line editor at the prompt, with its history and its completion.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;
use rustyline::{
    CompletionType, Config, Context, ExternalPrinter, Helper, Highlighter, Hinter, Validator,
};

use super::gate::Gate;
use crate::commands;
use crate::printer::NoticePrinter;
use crate::rundir::state_directory;
use crate::terminal::{self, Terminal};

/// The result of editing one line.
pub(crate) enum Edited {
    Line(String),
    /// `^C`: the line was discarded.
    Cleared,
    /// `^D` on an empty line.
    End,
}

/// The numbers and names of the instances, for completion.
pub(crate) type Instances = Arc<Mutex<Vec<String>>>;

/// The line editor and its history file.
pub(crate) struct Editor {
    lines: rustyline::Editor<Completion, DefaultHistory>,
    gate: Option<Gate>,
    history: Option<PathBuf>,
    instances: Instances,
}

impl Editor {
    pub(crate) fn new(terminal: &Terminal) -> anyhow::Result<Self> {
        let dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
        // Without editing, lines are read as the terminal delivers them.
        let gate = if dumb {
            None
        } else {
            Some(Gate::open(terminal)?)
        };
        let config = Config::builder()
            .completion_type(CompletionType::List)
            .history_ignore_dups(true)
            .context("history")?
            .build();
        let mut lines = rustyline::Editor::with_config(config).context("line editor")?;
        let instances = Instances::default();
        lines.set_helper(Some(Completion(Arc::clone(&instances))));
        let history = history_file();
        if let Some(file) = &history {
            // A history file that does not exist or cannot be read is an empty history.
            let _ = lines.load_history(file);
        }
        Ok(Self {
            lines,
            gate,
            history,
            instances,
        })
    }

    /// Returns notices that keep the edited line intact.
    pub(crate) fn notices(&mut self) -> Arc<NoticePrinter> {
        match self.lines.create_external_printer() {
            Ok(mut printer) => NoticePrinter::new(Box::new(move |line| {
                // A terminal that is gone shows nothing.
                let _ = printer.print(format!("{line}\n"));
            })),
            Err(_) => NoticePrinter::to_stderr(),
        }
    }

    /// Edits one line.
    pub(crate) fn edit(
        &mut self,
        terminal: &mut Terminal,
        prompt: &str,
        instances: impl Iterator<Item = String>,
    ) -> anyhow::Result<Edited> {
        *self
            .instances
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = instances.collect();
        let lines = &mut self.lines;
        terminal::remember_undo(terminal::EDITOR_UNDO.to_vec());
        let read = match &self.gate {
            Some(gate) => gate.open_while(terminal, || lines.readline(prompt)),
            None => Ok(lines.readline(prompt)),
        };
        terminal::remember_undo(Vec::new());
        let read = read?;
        match read {
            Ok(line) => Ok(Edited::Line(line)),
            Err(ReadlineError::Interrupted) => Ok(Edited::Cleared),
            Err(ReadlineError::Eof) => Ok(Edited::End),
            Err(error) => Err(error).context("line editor"),
        }
    }

    /// Adds `line` to the history, on disk too if possible.
    pub(crate) fn remember(&mut self, line: &str) {
        let added = self.lines.add_history_entry(line).unwrap_or(false);
        if let (true, Some(file)) = (added, &self.history) {
            // A failure to save the history is not reported at each line.
            let _ = self.lines.append_history(file);
        }
    }
}

/// Returns `$XDG_STATE_HOME/kmon/history`, after creating its directory.
fn history_file() -> Option<PathBuf> {
    let directory = state_directory()?.join("kmon");
    fs::create_dir_all(&directory).ok()?;
    Some(directory.join("history"))
}

/// Completes commands and instances.
#[derive(Helper, Highlighter, Hinter, Validator)]
struct Completion(Instances);

impl Completer for Completion {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let line = &line[..position];
        let start = line.rfind(' ').map_or(0, |space| space + 1);
        let instances = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let words = candidates(&line[..start], &instances);
        let typed = &line[start..];
        let fitting = words.into_iter().filter(|word| word.starts_with(typed));
        let pairs = fitting.map(|word| Pair {
            display: word.clone(),
            replacement: word + " ",
        });
        Ok((start, pairs.collect()))
    }
}

/// Returns the words that may follow `before` on a line.
fn candidates(before: &str, instances: &[String]) -> Vec<String> {
    match before.split_whitespace().next() {
        None => commands::names(),
        Some("help") => commands::names(),
        Some(command) if before.split_whitespace().any(|word| word == "--") => {
            let _ = command;
            Vec::new()
        }
        Some(command) => {
            let mut words = commands::options(command);
            if commands::takes_instances(command) {
                words.extend(instances.iter().cloned());
                words.push("all".into());
            }
            words
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_completed_first_and_instances_where_they_belong() {
        let instances = ["2", "web"].map(str::to_owned);
        let are_in = |word: &str, before| candidates(before, &instances).contains(&word.to_owned());
        assert!(are_in("kmconsole", ""));
        assert!(are_in("2", "kmconsole ") && are_in("web", "kmconsole "));
        assert!(are_in("all", "kmhalt "));
        assert!(are_in("--json", "kmlist ") && !are_in("2", "kmlist "));
        assert!(candidates("kmexec 2 -- ", &instances).is_empty());
    }
}
